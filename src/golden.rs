//! Expected output, kept in files.

use std::path::Path;

/// Set to 1 to have the files written instead of read.
const UPDATE: &str = "HEAPWARD_UPDATE_GOLDENS";

/// Compares `actual` with `tests/data/{name}`.
///
/// # Panics
///
/// When they differ, with the first line that does; when there is no such file.
#[track_caller]
pub(crate) fn check(name: &str, actual: impl AsRef<[u8]>) {
    let actual = actual.as_ref();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
    if std::env::var_os(UPDATE).is_some_and(|value| value == "1") {
        std::fs::create_dir_all(file.parent().expect("it has a folder")).expect("tests/data can be made");
        std::fs::write(&file, actual).unwrap_or_else(|error| panic!("tests/data/{name}: {error}"));
        return;
    }
    let expect = std::fs::read(&file)
        .unwrap_or_else(|error| panic!("tests/data/{name}: {error}; {UPDATE}=1 writes what is produced now"));
    if let Some(difference) = difference(&expect, actual) {
        panic!("tests/data/{name}, {difference}\nIf that is meant, {UPDATE}=1 writes what is produced now.");
    }
}

/// The first line that is not the same; `None` when all are.
fn difference(expect: &[u8], actual: &[u8]) -> Option<String> {
    if expect == actual {
        return None;
    }
    let lines = |bytes| String::from_utf8_lossy(bytes).split('\n').map(str::to_owned).collect::<Vec<_>>();
    let (expect, actual) = (lines(expect), lines(actual));
    let same = expect.iter().zip(&actual).take_while(|(expect, actual)| expect == actual).count();
    let shown = |lines: &[String]| lines.get(same).map_or("no such line".to_owned(), |line| excerpt(line));
    Some(format!("line {}:\n  expected {}\n  produced {}", same + 1, shown(&expect), shown(&actual)))
}

/// Enough of a line to see what it is.
fn excerpt(line: &str) -> String {
    let start: String = line.chars().take(400).collect();
    if start.len() < line.len() { format!("{start:?} …") } else { format!("{start:?}") }
}

mod tests {
    use super::*;

    #[test]
    fn the_first_line_that_differs_is_shown() {
        assert_eq!(difference(b"a\nb\n", b"a\nb\n"), None);
        let shown = difference(b"a\nb\nc\n", b"a\nx\nc\n").unwrap();
        assert_eq!(shown, "line 2:\n  expected \"b\"\n  produced \"x\"");
        assert_eq!(difference(b"a", b"a\n").unwrap(), "line 2:\n  expected no such line\n  produced \"\"");
    }

    #[test]
    #[should_panic = "HEAPWARD_UPDATE_GOLDENS=1 writes"]
    fn a_missing_file_fails() {
        assert!(std::env::var_os(UPDATE).is_none(), "HEAPWARD_UPDATE_GOLDENS=1 writes all but this one");
        check("there is no such file", b"");
    }
}
