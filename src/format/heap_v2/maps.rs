//! Reads the text of `/proc/self/maps`, which dumps carry along.

use super::lines::number;
use crate::error::Result;
use crate::format::read::Budget;
use crate::profile::Mapping;

/// The executable segments of files, sorted by start, and the number of lines that are none of a memory map.
///
/// Source: proc_pid_maps(5). A line is `<start>-<limit> <perms> <offset> <device> <inode> <path>`.
pub(super) fn read(text: &[u8], budget: &mut Budget) -> Result<(Vec<Mapping>, usize)> {
    let mut mappings = Vec::new();
    let mut others = 0;
    for line in text.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty()) {
        match parse(line) {
            Some(Parsed { is_executable: false, .. } | Parsed { path: b"", .. }) => {}
            Some(parsed) => {
                // Bytes that are not UTF-8 become three each.
                budget.take(parsed.path.len().saturating_mul(3))?;
                let path = String::from_utf8_lossy(parsed.path).into_owned();
                let Parsed { start, limit, file_offset, .. } = parsed;
                budget.push(&mut mappings, Mapping { start, limit, file_offset, path, build_id: None })?;
            }
            None => others += 1,
        }
    }
    mappings.sort_by_key(|mapping| mapping.start);
    Ok((mappings, others))
}

/// The longest path that Linux takes (`PATH_MAX`).
const MAX_PATH: usize = 4096;

struct Parsed<'a> {
    start: u64,
    limit: u64,
    file_offset: u64,
    is_executable: bool,
    path: &'a [u8],
}

fn parse(line: &[u8]) -> Option<Parsed<'_>> {
    let (range, rest) = word(line);
    let (permissions, rest) = word(rest);
    let (offset, rest) = word(rest);
    let (device, rest) = word(rest);
    let (inode, path) = word(rest);
    let dash = range.iter().position(|&byte| byte == b'-')?;
    let (start, limit) = (number(&range[..dash], 16)?, number(&range[dash + 1..], 16)?);
    let file_offset = number(offset, 16)?;
    if !device.contains(&b':') || permissions.len() != 4 || start >= limit || path.len() > MAX_PATH {
        return None;
    }
    number(inode, 10)?;
    // What the kernel adds to a file that was removed while it runs.
    let path = path.strip_suffix(b" (deleted)").unwrap_or(path);
    Some(Parsed { start, limit, file_offset, is_executable: permissions[2] == b'x', path })
}

/// The first word, and what follows the blanks after it.
fn word(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(u8::is_ascii_whitespace).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    (word, rest.trim_ascii_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_executable_segments_of_files_are_kept_in_order() {
        let text = b"\
7f02c5e41000-7f02c5e49000 r-xp 00028000 fe:00 1054                       /usr/lib/libc.so.6
560295a92000-560295afe000 r--p 00000000 fe:00 10012248                   /srv/bin/server
560295afe000-560295fb1000 r-xp 0006b000 fe:00 10012248                   /srv/bin/my server (deleted)
7f0000000000-7f0000001000 r-xp 00000000 00:00 0
7ffd0f3d9000-7ffd0f3db000 r-xp 00000000 00:00 0                          [vdso]

no map at all
9-8 r-xp 0 0:0 0 /backwards
";
        let (mappings, others) = read(text, &mut Budget::ample()).unwrap();
        let found: Vec<_> = mappings.iter().map(|m| (m.start, m.limit, m.file_offset, m.path.as_str())).collect();
        assert_eq!(
            found,
            [
                (0x560295afe000, 0x560295fb1000, 0x6b000, "/srv/bin/my server"),
                (0x7f02c5e41000, 0x7f02c5e49000, 0x28000, "/usr/lib/libc.so.6"),
                (0x7ffd0f3d9000, 0x7ffd0f3db000, 0, "[vdso]"),
            ]
        );
        assert_eq!(others, 2);

        let line = |length: usize| format!("1000-2000 r-xp 0 00:00 0 {}\n", "a".repeat(length));
        let (mappings, others) = read((line(4096) + &line(4097)).as_bytes(), &mut Budget::ample()).unwrap();
        assert_eq!((mappings.len(), others), (1, 1));
    }
}
