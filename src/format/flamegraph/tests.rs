use super::*;
use crate::format::{call_tree, folded};
use crate::golden;
use crate::profile::{Address, Frame, Function, Location, Mapping, Trim, Unknown};
use std::time::SystemTime;

/// A profile of stacks, root first, with one value each for all four. `a <- b` is one location with `b` inlined into
/// `a`; `?` has no name, but a file, and `!` has neither.
fn profile(stacks: &[(&[&str], i64)]) -> Profile {
    let mut profile = Profile::new(SystemTime::UNIX_EPOCH, 1);
    profile.mappings.push(Mapping {
        start: 0x1000,
        limit: 0x9000,
        file_offset: 0x10,
        path: "/opt/<service>".to_owned(),
        build_id: None,
    });
    // pprof takes a name that is the same as the symbol for one that it must demangle, and spoils it.
    let function = |name: &str| Function { name: name.into(), system_name: "_R".into(), file: "".into(), line: 7 };
    for (stack, value) in stacks {
        let first = profile.locations.len() as u32;
        profile.locations.extend(stack.iter().rev().map(|names| Location {
            address: Address(0x1234),
            mapping: (*names != "!").then_some(0),
            frame: match *names {
                "?" | "!" => Frame::Unknown(Unknown::NoSymbol),
                names => Frame::Known(names.rsplit(" <- ").map(function).collect()),
            },
        }));
        profile.push(first..first + stack.len() as u32, [*value; 4], 0);
    }
    profile
}

const PUSH: &str = "alloc::vec::Vec<T,A>::push";

fn small() -> Profile {
    profile(&[
        (&["main", "service::open <- service::Session::new", PUSH, "__rustc::__rust_alloc", "malloc"], 3 << 20),
        (&["main", "service::open", "alloc::string::String::push_str", "malloc"], 1 << 20),
        (&["main", "service::open::{{closure}}", "<T as core::convert::Into<U>>::into", "malloc"], 1 << 19),
        (&["main", "service::open", "service::log", "malloc"], 100_000),
        (&["main", "?", "malloc"], 1 << 18),
        (&["!", "malloc"], 4096),
        (&["main", "<script>alert(\"1\")</script>; & '\n' \0 ]]> \u{fffe}", "malloc"], 1 << 18),
        (&["main", "new<[u8; 4096]>", "operator new 12 34", "# remark", "x 7"], 1 << 17),
        (&["malloc", "imalloc_fastpath"], 8192),
        (&[], 1000),
        (&["main", "service::rare", "service::rarer"], 700),
        (&["main", "service::rare"], 20),
        (&["main", "service::freed"], -5000),
        (&["main", "service::gone"], 0),
    ])
}

/// Grown, new, shrunk, vanished, and the same.
fn later() -> Profile {
    profile(&[
        (&["main", "service::open <- service::Session::new", PUSH, "malloc"], 5 << 20),
        (&["main", "service::open", "alloc::string::String::push_str", "malloc"], 1 << 18),
        (&["main", "service::open::{{closure}}", "<T as core::convert::Into<U>>::into", "malloc"], 1 << 19),
        (&["main", "service::fresh", "malloc"], 1 << 20),
        (&["main", "?", "malloc"], 1 << 18),
        (&["!", "malloc"], 4096),
    ])
}

/// `title` → (value, x, width, color) of every frame, in the order of the picture; and that the SVG is XML.
fn frames(svg: &[u8]) -> Vec<(String, u64, u64, String)> {
    let text = std::str::from_utf8(svg).unwrap();
    let is_allowed = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..);
    assert!(text.chars().all(is_allowed));
    let mut reader = quick_xml::Reader::from_str(text);
    let (mut frames, mut title, mut in_title) = (Vec::new(), String::new(), false);
    loop {
        use quick_xml::events::Event;
        match reader.read_event().unwrap() {
            Event::Start(tag) => {
                in_title = tag.name().as_ref() == b"title";
                if in_title {
                    title.clear();
                }
                assert!(
                    [&b"svg"[..], b"defs", b"linearGradient", b"style", b"script", b"text", b"g", b"title"]
                        .contains(&tag.name().as_ref())
                );
            }
            Event::End(_) => in_title = false,
            Event::Text(text) if in_title => title.push_str(&text.decode().unwrap()),
            Event::GeneralRef(name) if in_title => {
                let name = name.decode().unwrap();
                title.push_str(quick_xml::escape::resolve_xml_entity(&name).unwrap());
            }
            Event::Empty(tag) if tag.name().as_ref() == b"rect" => {
                let value = |name: &str| {
                    let attribute = tag.try_get_attribute(name).unwrap()?;
                    Some(String::from_utf8(attribute.value.into_owned()).unwrap())
                };
                if let (Some(x), Some(width), Some(color)) = (value("fg:x"), value("fg:w"), value("fill")) {
                    frames.push((title.clone(), x.parse().unwrap(), width.parse().unwrap(), color));
                }
            }
            Event::Eof => return frames,
            _ => {}
        }
    }
}

fn titles(svg: &[u8]) -> Vec<String> {
    frames(svg).into_iter().map(|(title, ..)| title).collect()
}

/// The subtitle.
fn subtitle_of(svg: &[u8]) -> String {
    let text = std::str::from_utf8(svg).unwrap();
    let start = text.find("id=\"subtitle\"").unwrap();
    let start = start + text[start..].find('>').unwrap() + 1;
    text[start..][..text[start..].find('<').unwrap()].to_owned()
}

fn unpruned() -> Options {
    Options { min_percent: 0.0, ..Options::default() }
}

fn text(profile: &Profile, options: &Options) -> String {
    let mut out = Vec::new();
    folded::write(profile, options, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn refused<T: std::fmt::Debug>(result: Result<T>) -> (ErrorKind, String) {
    let error = result.unwrap_err();
    (error.kind(), error.to_string())
}

#[test]
fn a_flame_graph() {
    let drawn = svg(&small(), &Options::default()).unwrap();
    golden::check("flamegraph.svg", &drawn);
    frames(&drawn);
    let all = Options { trim: Trim::None, title: Some("a <title> of my own".into()), ..unpruned() };
    golden::check("flamegraph_all.svg", svg(&small(), &all).unwrap());
}

#[test]
fn the_same_picture_every_time() {
    let mut reversed = small();
    reversed.samples.reverse();
    let drawn = svg(&small(), &Options::default()).unwrap();
    assert!(drawn == svg(&small(), &Options::default()).unwrap());
    assert!(drawn == svg(&reversed, &Options::default()).unwrap(), "in any order of the samples");
}

#[test]
fn folded_stacks() {
    let lines = text(&small(), &unpruned());
    golden::check("stacks.folded", &lines);
    assert!(lines.lines().is_sorted());
    golden::check("stacks_allocator.folded", text(&small(), &Options { trim: Trim::Allocator, ..unpruned() }));
    golden::check("stacks_pruned.folded", text(&small(), &Options { min_percent: 1.0, ..unpruned() }));
}

#[test]
fn what_changed() {
    let drawn = differential(&small(), &later(), &Options::default()).unwrap();
    golden::check("flamegraph_diff.svg", &drawn);
    let frames = frames(&drawn);
    let frame = |name: &str| {
        let start = format!("{name} ");
        frames.iter().find(|(title, ..)| title.starts_with(&start)).unwrap_or_else(|| panic!("{name} in {frames:#?}"))
    };
    // With what is under it: 3 MiB + 1 MiB + 97.7 KiB before, and 5.25 MiB after.
    let (title, _, width, color) = frame("service::open");
    assert!(title.starts_with("service::open +1.2 MiB (4.1 MiB → 5.2 MiB) (6,391,456 bytes wide, "), "{title}");
    assert_eq!(*width, (5 << 20) + (1 << 20) + 100_000, "the larger of each stack's values");
    assert!(color.starts_with("rgb(255,"), "{color}");
    let (title, .., color) = frame("service::Session::new");
    assert!(title.starts_with("service::Session::new +2.0 MiB (3.0 MiB → 5.0 MiB)"), "{title}");
    assert_eq!(color, "rgb(255,100,100)", "the largest change is the strongest red");
    let (title, .., color) = frame("service::log");
    assert!(title.starts_with("service::log -97.7 KiB (97.7 KiB → 0 B)"), "vanished and still there: {title}");
    assert!(color.ends_with(",255)"), "{color}");
    let (title, .., color) = frame("service::open::{{closure}}");
    assert!(title.starts_with("service::open::{{closure}} unchanged (512.0 KiB)"), "{title}");
    assert_eq!(color, "rgb(250,250,250)");
    let subtitle = subtitle_of(&drawn);
    assert!(subtitle.starts_with("before 5.2 MiB, after 7.0 MiB, change +1.8 MiB; widths are"), "{subtitle}");
    // The other way round.
    let back = titles(&differential(&later(), &small(), &Options::default()).unwrap());
    assert!(back.iter().any(|title| title.starts_with("service::open -1.2 MiB (5.2 MiB → 4.1 MiB)")), "{back:#?}");
}

#[test]
fn nothing_differs() {
    let (kind, message) = refused(differential(&small(), &small(), &Options::default()));
    assert_eq!((kind, message.as_str()), (ErrorKind::NotFound, "nothing differs: inuse_space is the same everywhere"));
}

/// inferno's own order of lines would draw `a` in two pieces.
#[test]
fn a_frame_is_drawn_once() {
    let stacks = profile(&[(&["r", "a"], 1), (&["r", "a::b"], 2), (&["r", "a", "c"], 4), (&["r", "a b"], 8)]);
    let svg = svg(&stacks, &unpruned()).unwrap();
    let mut frames: Vec<_> = frames(&svg).into_iter().map(|(title, x, width, _)| (title, x, width)).collect();
    frames.sort();
    let frame = |title: &str, x, width| (title.to_owned(), x, width);
    assert_eq!(
        frames,
        [
            frame("a (5 bytes, 33.33%)", 0, 5),
            frame("a b (8 bytes, 53.33%)", 5, 8),
            frame("a::b (2 bytes, 13.33%)", 13, 2),
            frame("all (15 bytes, 100%)", 0, 15),
            frame("c (4 bytes, 26.67%)", 1, 4),
            frame("r (15 bytes, 100.00%)", 0, 15),
        ]
    );
}

#[test]
fn what_is_too_small_stays_with_its_parent() {
    let stacks = profile(&[
        (&["r", "a", "b"], 900),
        (&["r", "a", "small", "smaller"], 50),
        (&["r", "a", "small"], 30),
        (&["tiny"], 20),
    ]);
    let drawn = |min_percent| svg(&stacks, &Options { min_percent, ..unpruned() }).unwrap();
    let mut seen = titles(&drawn(10.0));
    seen.sort();
    assert_eq!(
        seen,
        [
            "[not drawn] (20 bytes, 2.00%)",
            "a (980 bytes, 98.00%)",
            "all (1,000 bytes, 100%)",
            "b (900 bytes, 90.00%)",
            "r (980 bytes, 98.00%)"
        ]
    );
    let subtitle = subtitle_of(&drawn(10.0));
    assert_eq!(subtitle, "1000 B in all; 3 frames below 10% not drawn, together 100 B (10.0%)");
    // Of exactly the share is enough.
    assert_eq!(titles(&drawn(8.0)).len(), 6);
    assert_eq!(subtitle_of(&drawn(0.0)), "1000 B in all");
    // However narrow: inferno's own limit would be a hundredth of a percent, and silent.
    let narrow = svg(&profile(&[(&["wide"], 1_000_000), (&["narrow"], 1)]), &unpruned()).unwrap();
    assert_eq!(titles(&narrow).len(), 3);
    let pruned = Options { min_percent: 10.0, ..unpruned() };
    assert_eq!(text(&stacks, &pruned), "r;a 80\nr;a;b 900\n[not drawn] 20\n");
}

#[test]
fn a_site_is_focused_on() {
    let asked = |site: &str| Options { site: Some(site.to_owned()), ..unpruned() };
    let lines = text(&small(), &asked("service::open"));
    assert_eq!(
        lines,
        "main;service::open 1048576\nmain;service::open::{{closure}};<T as core::convert::Into<U>>::into 524288\n"
    );
    let drawn = svg(&small(), &asked("service::log")).unwrap();
    assert_eq!(subtitle_of(&drawn), "97.7 KiB in all; only sites with `service::log`");
    assert_eq!(
        refused(svg(&small(), &asked("Service::Open"))),
        (
            ErrorKind::NotFound,
            "no site with inuse_space contains `Service::Open`; the largest sites: service::Session::new, service::open, \
             service::open::{{closure}}, <service>+0x244, main"
                .to_owned()
        )
    );
    let (kind, message) = refused(differential(&small(), &later(), &asked("nothing of that name")));
    assert!(kind == ErrorKind::NotFound && message.contains("largest sites: service::Session::new, "), "{message}");
}

#[test]
fn values_below_zero_are_left_out_and_told() {
    let subtitle = subtitle_of(&svg(&small(), &unpruned()).unwrap());
    assert!(subtitle.ends_with("; 1 stack below zero left out"), "{subtitle}");
    let (kind, message) = refused(svg(&profile(&[(&["main"], -1)]), &unpruned()));
    assert_eq!(kind, ErrorKind::NotFound);
    assert_eq!(message, "nothing to draw: inuse_space is zero or below in every sample");
    let at_freed = Options { site: Some("service::freed".into()), ..unpruned() };
    assert_eq!(refused(svg(&small(), &at_freed)).1, message, "there is such a site");
    assert_eq!(refused(svg(&profile(&[]), &unpruned())).1, "nothing to draw: no sample has inuse_space");
}

#[test]
fn options_that_cannot_be_are_refused() {
    for min_percent in [f64::NAN, -0.1, 100.1, f64::INFINITY] {
        let (kind, message) = refused(svg(&small(), &Options { min_percent, ..unpruned() }));
        assert_eq!(kind, ErrorKind::Config);
        assert_eq!(message, format!("min_percent is {min_percent}: allowed is a number from 0 to 100"));
    }
    let (kind, message) = refused(svg(&small(), &Options { by: 4, ..unpruned() }));
    assert_eq!((kind, message.as_str()), (ErrorKind::Config, "by is 4: allowed is an index from 0 to 3"));
}

#[test]
fn values_that_add_up_to_too_much_are_refused() {
    let (a, b) = (profile(&[(&["a"], i64::MAX)]), profile(&[(&["b"], i64::MAX)]));
    assert!(svg(&a, &unpruned()).is_ok());
    let (kind, message) = refused(differential(&a, &b, &unpruned()));
    assert_eq!(kind, ErrorKind::Malformed);
    assert_eq!(message, "the values of the profile add up to more than 2^63");
}

/// More than is wise to draw: the share goes up until it is not, and that is told.
#[test]
fn a_picture_is_bounded() {
    let names: Vec<String> = (0..60_000).map(|n| format!("f{n}")).collect();
    let stacks: Vec<[&str; 2]> = names.iter().map(|name| ["r", name.as_str()]).collect();
    let mut list: Vec<(&[&str], i64)> = stacks.iter().map(|stack| (&stack[..], 10)).collect();
    let other = ["r", "large"];
    list.push((&other, 10_000));
    // Without rules, which take their time for so many names in a test.
    let drawn = svg(&profile(&list), &Options { trim: Trim::None, ..unpruned() }).unwrap();
    assert_eq!(titles(&drawn).len(), 3);
    let subtitle = subtitle_of(&drawn);
    let expect = "595.7 KiB in all; 60,000 frames below 0.002% not drawn, together 585.9 KiB (98.4%)";
    assert_eq!(subtitle, expect);
    // One line alone is too long.
    let long = "x".repeat(20 << 20);
    let drawn = svg(&profile(&[(&[&long], 1)]), &Options { trim: Trim::None, ..unpruned() }).unwrap();
    assert_eq!(titles(&drawn), ["all (1 bytes, 100%)", "[not drawn] (1 bytes, 100.00%)"]);
}

/// Random trees against sums that are made the simple way.
#[test]
fn widths_are_the_sums_of_what_is_under_a_frame() {
    use std::collections::BTreeMap;
    for seed in 1..=40u64 {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut random = |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        const NAMES: [&str; 6] = ["a", "a::b", "a b", "b", "<c>", "a;b"];
        let stacks: Vec<(Vec<&str>, i64)> = (0..random(40) + 1)
            .map(|_| {
                let depth = random(5) + 1;
                ((0..depth).map(|_| NAMES[random(6) as usize]).collect(), random(1000) as i64 + 1)
            })
            .collect();
        let list: Vec<(&[&str], i64)> = stacks.iter().map(|(stack, value)| (&stack[..], *value)).collect();
        let profile = profile(&list);
        let (mut expect, mut lines) = (BTreeMap::<String, u64>::new(), BTreeMap::<String, u64>::new());
        for (stack, value) in &stacks {
            let clean: Vec<String> = stack.iter().map(|name| name.replace(';', ":")).collect();
            for depth in 1..=clean.len() {
                *expect.entry(clean[..depth].join(";")).or_default() += *value as u64;
            }
            *lines.entry(clean.join(";")).or_default() += *value as u64;
        }
        let tree = call_tree::CallTree::of(&[&profile], &unpruned()).unwrap();
        let mut seen = BTreeMap::new();
        tree.walk(0.0, |node| {
            let path: Vec<&str> = tree.path(&node).iter().map(|&function| tree.name(function)).collect();
            assert_eq!(seen.insert(path.join(";"), node.values.width), None, "seed {seed}: visited once");
        });
        assert_eq!(seen, expect, "seed {seed}");
        let mut lines: Vec<String> = lines.iter().map(|(stack, value)| format!("{stack} {value}\n")).collect();
        lines.sort();
        assert_eq!(text(&profile, &unpruned()), lines.concat(), "seed {seed}");
        // What inferno makes of it.
        let mut drawn: Vec<u64> = frames(&svg(&profile, &unpruned()).unwrap()).iter().map(|frame| frame.2).collect();
        let mut widths: Vec<u64> = expect.values().copied().chain([tree.total.width]).collect();
        drawn.sort_unstable();
        widths.sort_unstable();
        assert_eq!(drawn, widths, "seed {seed}");
    }
}

/// What is cut at run time is what pprof cuts by `drop_frames`.
#[test]
#[ignore = "needs go (Debian golang-go)"]
fn leaves_are_what_pprof_calls_flat() {
    use std::collections::BTreeMap;
    const SEED: u64 = 20_260_101;
    let mut state = SEED;
    let mut random = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below) as usize
    };
    const NAMES: [&str; 12] = [
        "service::a",
        "service::b",
        "core::iter::c",
        "service::a <- service::b",
        "service::a <- alloc::raw_vec::grow_one <- service::b",
        "alloc::vec::Vec<T,A>::push <- service::b",
        "alloc::vec::Vec<T,A>::push <- alloc::raw_vec::grow_one",
        "malloc",
        "operator new(unsigned long)",
        "alloc::alloc::alloc",
        "hashbrown::raw::reserve",
        "service::malloc",
    ];
    let stacks: Vec<(Vec<&str>, i64)> = (0..400)
        .map(|number| {
            let depth = random(6);
            // What matches at the root itself stays.
            let root: &[&str] = if random(4) == 0 { &["malloc", "main"] } else { &["main"] };
            let rest: Vec<&str> = (0..depth).map(|_| NAMES[random(NAMES.len() as u64)]).collect();
            ([root, &rest].concat(), 1000 + number)
        })
        .collect();
    let list: Vec<(&[&str], i64)> = stacks.iter().map(|(stack, value)| (&stack[..], *value)).collect();
    let profile = profile(&list);

    let mut ours = BTreeMap::<String, u64>::new();
    for line in text(&profile, &unpruned()).lines() {
        let (stack, value) = line.rsplit_once(' ').unwrap();
        *ours.entry(stack.rsplit(';').next().unwrap().to_owned()).or_default() += value.parse::<u64>().unwrap();
    }

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("heap.prof");
    let mut bytes = Vec::new();
    crate::format::pprof::write(&profile, &mut bytes).unwrap();
    std::fs::write(&file, &bytes).unwrap();
    let table = std::process::Command::new("go")
        .args(["tool", "pprof", "-top", "-nodefraction=0", "-nodecount=10000", "-unit=B"])
        .arg(&file)
        .env("PPROF_TMPDIR", folder.path())
        .env("HOME", folder.path())
        .env("GOTOOLCHAIN", "local")
        .output()
        .expect("go is installed: apt-get install golang-go");
    let table = String::from_utf8(table.stdout).unwrap();
    // `  6553B 98.90% 98.90%   6553B 98.90%  service::a (inline)`
    let rows = table.lines().skip_while(|line| !line.trim_start().starts_with("flat ")).skip(1);
    let theirs: BTreeMap<String, u64> = rows
        .filter_map(|row| {
            let fields: Vec<&str> = row.split_whitespace().collect();
            let bytes = fields[0].trim_end_matches('B').parse().unwrap();
            let name = fields[5..].join(" ").replace(" (inline)", "").replace(" (partial-inline)", "");
            (bytes > 0).then_some((name, bytes))
        })
        .collect();
    assert!(theirs.len() >= 5, "{table}");
    assert_eq!(ours, theirs, "seed {SEED}");
}
