use std::time::SystemTime;

use super::*;
use crate::profile::{Address, Frame, Function, Location, Profile, Unknown};

/// Names that tools print, in both of Rust's manglings.
#[track_caller]
fn check_language(expect: bool, names: &[&str]) {
    for name in names {
        assert_eq!(rules::is_of_the_language(name), expect, "{name}");
    }
}

#[test]
fn language_and_collections_are_no_site() {
    check_language(
        true,
        &[
            "alloc::raw_vec::RawVec<T,A>::grow_one",
            "alloc::vec::push<u8, alloc::alloc::Global>",
            "<alloc::vec::Vec<service::Session>>::push",
            "<alloc::vec::Vec<T> as core::iter::traits::collect::Extend<T>>::extend",
            "<T as alloc::slice::hack::ConvertVec>::to_vec",
            "<[u8]>::to_vec",
            "<&str as core::str::pattern::Pattern>::is_contained_in",
            "<service::Key as alloc::string::ToString>::to_string",
            "<core::option::Option<service::Key>>::map::<(), service::go::{closure#0}>",
            "hashbrown::raw::RawTable<T,A>::reserve_rehash",
            "core::ops::function::FnOnce::call_once{{vtable.shim}}",
            "std::sys::backtrace::__rust_begin_short_backtrace",
        ],
    );
}

#[test]
fn the_service_is_a_site() {
    check_language(
        false,
        &[
            "service::session::SessionStore::open",
            "<service::session::SessionStore>::open",
            "<service::Key as core::clone::Clone>::clone",
            "<service::Key<T> as core::iter::Iterator>::next",
            "service::main::{{closure}}",
            "tokio::runtime::task::core::Core<T,S>::poll",
            "mallory::free_session",
            "main",
            "push",
            "",
        ],
    );
}

#[track_caller]
fn check_dropped(expect: bool, names: &[&str]) {
    // As pprof does it, and as the crate does.
    let theirs = regex::Regex::new(&format!("^({})$", Trim::Std.drop_frames())).unwrap();
    for name in names {
        // Viewers look no further than the first round bracket.
        assert_eq!(theirs.is_match(name.split('(').next().unwrap()), expect, "{name}");
        assert_eq!(leaf(Trim::Std, &["the::root", name]) == "the::root", expect, "{name}");
    }
}

/// As they stand in profiles, in both of Rust's manglings.
#[test]
fn what_allocates_on_its_own_account_is_dropped() {
    check_dropped(
        true,
        &[
            "malloc",
            "_rjem_je_malloc_default",
            "imalloc_fastpath",
            "do_rallocx.isra.0",
            "_rjem_je_prof_tctx_create",
            "prof_backtrace_impl",
            "operator new(unsigned long)",
            "operator new[](unsigned long, std::nothrow_t const&)",
            "_Znwm",
            "_ZnamRKSt9nothrow_t",
            "<allocator_api2::stable::alloc::global::Global as allocator_api2::stable::alloc::Allocator>::allocate",
            "__rust_alloc",
            "__rustc::__rust_realloc",
            "<tikv_jemallocator::Jemalloc as core::alloc::global::GlobalAlloc>::alloc",
            "<alloc::alloc::Global as core::alloc::Allocator>::grow",
            "alloc::raw_vec::RawVecInner<A>::finish_grow",
            "<alloc::raw_vec::RawVecInner<_>>::reserve::do_reserve_and_handle::<alloc::alloc::Global>",
            "alloc::vec::Vec<T,A>::push",
            "<alloc::vec::Vec<&mut service::Session>>::push",
            "<alloc::vec::Vec<T,A> as core::clone::Clone>::clone",
            "<u8 as alloc::vec::spec_from_elem::SpecFromElem>::from_elem",
            "<T as alloc::slice::<impl [T]>::to_vec_in::ConvertVec>::to_vec",
            "<u8 as <[_]>::to_vec_in::ConvertVec>::to_vec::<alloc::alloc::Global>",
            "<[u8]>::to_vec",
            "alloc::string::String::push_str",
            "<alloc::string::String as core::fmt::Write>::write_str",
            "<str>::to_uppercase",
            "alloc::str::<impl alloc::borrow::ToOwned for str>::to_owned",
            "<T as alloc::string::ToString>::to_string",
            "alloc::fmt::format::format_inner",
            "alloc::boxed::Box<T>::new",
            "alloc::sync::Arc<T>::new",
            "<alloc::sync::Arc<str> as core::convert::From<&str>>::from",
            "alloc::collections::btree::map::BTreeMap<K,V,A>::insert",
            "hashbrown::rustc_entry::<impl hashbrown::map::HashMap<K,V,S,A>>::rustc_entry",
            "std::collections::hash::map::HashMap<K,V,S,A>::insert",
            "std::sync::mpmc::list::Channel<T>::send",
        ],
    );
}

/// With the path of their module and without their type: inlined, and no more than line tables to tell.
#[test]
fn short_names_are_dropped_as_well() {
    check_dropped(
        true,
        &[
            "alloc::alloc::alloc",
            "tikv_jemallocator::alloc",
            "alloc::raw_vec::reserve<alloc::alloc::Global>",
            "alloc::vec::push<u8, alloc::alloc::Global>",
            "alloc::slice::join<&str>",
            "alloc::string::write_str",
            "alloc::boxed::new<[u8; 4096]>",
            "alloc::collections::vec_deque::push_back<(u8, u8), alloc::alloc::Global>",
            "hashbrown::map::insert<u8, u8, std::hash::random::RandomState, alloc::alloc::Global>",
        ],
    );
    check_dropped(
        false,
        &[
            "push<u8>",
            "alloc",
            "alloc::vec::retain<u8, alloc::alloc::Global, service::go::{closure_env#0}>",
            "alloc::vec::resize_with<u8, alloc::alloc::Global, service::go::{closure_env#0}>",
            "alloc::sync::new_cyclic<u8, service::go::{closure_env#0}>",
            "alloc::collections::btree::map::entry::or_insert_with<u8, u8, alloc::alloc::Global, fn()>",
            "core::iter::traits::iterator::collect<service::Sessions, alloc::vec::Vec<u8>>",
        ],
    );
}

#[test]
fn what_runs_code_of_the_service_is_not_dropped() {
    check_dropped(
        false,
        &[
            "",
            "main",
            "service::malloc",
            "service::Vec<T>::push",
            "<service::Key as core::clone::Clone>::clone",
            "<service::Arena as core::alloc::Layouts>::new",
            "<alloc::vec::Vec<T> as service::Stack>::push",
            "<alloc::vec::Vec<alloc::string::String> as service::Stack>::push",
            "<service::Session as alloc::string::ToString>::to_string",
            // At the root of every thread and around every task of a runtime.
            "__rust_try",
            "std::sys::backtrace::__rust_begin_short_backtrace",
            "std::thread::lifecycle::spawn_unchecked::{{closure}}::{{closure}}",
            "std::panicking::catch_unwind::do_call",
            "core::ops::function::FnOnce::call_once{{vtable.shim}}",
            "<alloc::boxed::Box<F,A> as core::ops::function::FnOnce<Args>>::call_once",
            "core::iter::traits::iterator::Iterator::collect",
            "<alloc::vec::Vec<T> as alloc::vec::spec_from_iter::SpecFromIter<T,I>>::from_iter",
            "alloc::vec::Vec<T,A>::extend_trusted",
            "alloc::vec::Vec<T,A>::retain",
            "alloc::vec::Vec<T,A>::resize_with",
            "alloc::sync::Arc<T>::new_cyclic",
            "alloc::collections::btree::map::entry::Entry<K,V,A>::or_insert_with",
            "std::collections::hash::map::Entry<K,V>::or_insert_with",
            "<hashbrown::map::HashMap<K,V,S,A> as core::iter::traits::collect::Extend<(K,V)>>::extend",
            "<alloc::boxed::Box<T> as core::default::Default>::default",
        ],
    );
}

/// No group may capture: see [`rules::RULES`].
#[test]
fn no_rule_captures() {
    for trim in [Trim::Allocator, Trim::Std] {
        let expression = regex_lite::Regex::new(trim.drop_frames()).unwrap();
        assert_eq!(expression.captures_len(), 1, "the whole match alone");
    }
    for (_, rule) in rules::RULES {
        let groups = rule.replace(r"\(", "").matches('(').count();
        assert_eq!(groups, rule.matches("(?:").count(), "{rule}");
    }
}

#[test]
fn every_rule_belongs_to_a_level() {
    assert_eq!(Trim::None.drop_frames(), "");
    assert!(Trim::Std.drop_frames().starts_with(&[Trim::Allocator.drop_frames(), "|"].concat()));
    assert!(rules::RULES.iter().all(|(level, _)| *level != Trim::None));
    let [none, allocator, std] = ["none", "allocator", "std"].map(|text| text.parse::<Trim>().unwrap());
    assert_eq!([none, allocator, std], [Trim::None, Trim::Allocator, Trim::Std]);
    assert_eq!(Trim::default(), Trim::Std);
    let refused = "Std".parse::<Trim>().unwrap_err().to_string();
    assert_eq!(refused, "trim is `Std`: allowed is none, allocator, std");
}

/// A stack, root first; a name of `a <- b` is one location with `b` inlined into `a`, and `?` one without a name.
fn profile(stack: &[&str]) -> Profile {
    let mut profile = Profile::new(SystemTime::UNIX_EPOCH, 1);
    let function = |name: &str| Function { name: name.into(), system_name: name.into(), file: "".into(), line: 1 };
    for names in stack.iter().rev() {
        let frame = match *names {
            "?" => Frame::Unknown(Unknown::NoSymbol),
            names => Frame::Known(names.rsplit(" <- ").map(function).collect()),
        };
        profile.locations.push(Location { address: Address(0x10), mapping: None, frame });
    }
    profile.push(0..stack.len() as u32, [1; 4], 1);
    profile
}

/// What is left, root first, in one text.
fn kept(trim: Trim, stack: &[&str]) -> String {
    let profile = profile(stack);
    let kept = Trimmer::of(&profile, trim).kept(&profile.samples[0]);
    let locations = kept.locations.iter().map(|&index| &profile.locations[index as usize]);
    let mut names: Vec<_> = locations.flat_map(|location| profile.places(location)).map(|place| place.name()).collect();
    names.drain(..kept.skip);
    names.reverse();
    names.join(" ")
}

#[test]
fn a_name_that_no_compiler_makes_is_not_asked_about() {
    let [short, long] = [60_000, 70_000].map(|length| format!("alloc::vec::Vec<{}>::push", "x".repeat(length)));
    assert_eq!(kept(Trim::Std, &["main", &short]), "main");
    assert!(kept(Trim::Std, &["main", &long]).ends_with(">::push"));
}

fn leaf(trim: Trim, stack: &[&str]) -> String {
    kept(trim, stack).rsplit(' ').next().unwrap().to_owned()
}

fn site(trim: Trim, stack: &[&str]) -> String {
    let profile = profile(stack);
    Trimmer::of(&profile, trim).site(&profile.samples[0]).map_or(String::new(), |place| place.name().into_owned())
}

const STACK: [&str; 6] =
    ["main", "s::go", "core::iter::Map::fold", "alloc::vec::Vec::push", "alloc::raw_vec::grow", "malloc"];

#[test]
fn a_stack_is_cut_at_the_first_match_from_the_root() {
    let std = ["main", "s::go", "core::iter::Map::fold", "alloc::vec::Vec<T,A>::push", "s::clone", "malloc"];
    assert_eq!(kept(Trim::Std, &std), "main s::go core::iter::Map::fold");
    assert_eq!(kept(Trim::Allocator, &std), "main s::go core::iter::Map::fold alloc::vec::Vec<T,A>::push s::clone");
    assert_eq!(kept(Trim::None, &std).split(' ').count(), 6);
    assert_eq!(kept(Trim::Std, &["main", "?", "malloc"]), "main 0x10");
    assert_eq!(kept(Trim::Std, &["?", "?"]), "0x10 0x10");
    assert_eq!(kept(Trim::Std, &[]), "");
}

#[test]
fn inlined_functions_are_cut_one_by_one() {
    assert_eq!(kept(Trim::Std, &["main", "s::go <- alloc::vec::push<u8> <- s::inner", "malloc"]), "main s::go");
    assert_eq!(kept(Trim::Std, &["main", "alloc::vec::push<u8> <- s::inner", "malloc"]), "main");
    // All of it in one location, and at the root.
    assert_eq!(kept(Trim::Std, &["s::go <- alloc::vec::push<u8>", "malloc"]), "s::go");
    assert_eq!(site(Trim::Std, &["s::go <- core::iter::map <- alloc::vec::push<u8>", "malloc"]), "s::go");
}

#[test]
fn a_stack_never_vanishes() {
    assert_eq!(kept(Trim::Std, &["malloc", "imalloc_fastpath"]), "malloc");
    assert_eq!(kept(Trim::Std, &["calloc <- malloc", "imalloc_fastpath"]), "calloc");
    assert_eq!(site(Trim::Std, &["malloc", "imalloc_fastpath"]), "malloc");
    // Where a stack was cut off at its root, say.
    assert_eq!(kept(Trim::Std, &["alloc::raw_vec::grow", "s::go", "malloc"]), "alloc::raw_vec::grow s::go");
}

#[test]
fn a_site_is_where_a_person_would_look() {
    assert_eq!(site(Trim::Std, &STACK), "s::go");
    assert_eq!(site(Trim::Allocator, &STACK), "alloc::raw_vec::grow");
    assert_eq!(site(Trim::None, &STACK), "malloc");
    assert_eq!(site(Trim::Std, &["std::rt::lang_start", "core::x", "malloc"]), "std::rt::lang_start");
    assert_eq!(site(Trim::Std, &["main", "?", "core::x", "malloc"]), "0x10");
    assert_eq!(site(Trim::Std, &[]), "");
}

/// As profile/prune.go simplifies them.
#[test]
fn names_end_at_their_arguments() {
    assert_eq!(leaf(Trim::Std, &["main", "malloc(unsigned long)"]), "main");
    assert_eq!(leaf(Trim::Std, &["main", ".malloc"]), "main");
    assert_eq!(leaf(Trim::Std, &["main", "operator new(x) y"]), "main");
    assert_eq!(kept(Trim::Std, &["main", "(anonymous namespace)::malloc"]), "main (anonymous namespace)::malloc");
    assert_eq!(kept(Trim::Std, &["main", "malloc::operator()(int)"]), "main malloc::operator()(int)");
    // Nothing in front of the bracket matches.
    assert_eq!(kept(Trim::Std, &["main", "<alloc::vec::Vec<(u8,)>>::push"]), "main <alloc::vec::Vec<(u8,)>>::push");
}

#[test]
fn the_way_to_a_site_ends_there() {
    let way = |trim: Trim, stack: &[&str]| {
        let profile = profile(stack);
        let trimmer = Trimmer::of(&profile, trim);
        let names: Vec<String> =
            trimmer.path_to_site(&profile.samples[0]).map(|place| place.name().into_owned()).collect();
        assert_eq!(names.last().map_or("", String::as_str), site(trim, stack), "{trim:?} {stack:?}");
        names.join(" ")
    };
    assert_eq!(way(Trim::Std, &STACK), "main s::go");
    assert_eq!(
        way(Trim::Allocator, &STACK),
        "main s::go core::iter::Map::fold alloc::vec::Vec::push alloc::raw_vec::grow"
    );
    assert_eq!(way(Trim::None, &STACK).split(' ').count(), 6);
    let inlined = ["main", "s::go <- core::iter::map <- s::inner <- alloc::vec::push<u8>", "malloc"];
    assert_eq!(way(Trim::Std, &inlined), "main s::go core::iter::map s::inner");
    assert_eq!(way(Trim::Std, &["main", "s::go <- core::iter::map <- alloc::vec::push<u8>", "malloc"]), "main s::go");
    assert_eq!(way(Trim::Std, &["std::rt::lang_start", "core::x", "malloc"]), "std::rt::lang_start");
    assert_eq!(way(Trim::Std, &["malloc", "imalloc_fastpath"]), "malloc");
    assert_eq!(way(Trim::Std, &[]), "");
}
