//! Which frames are allocator and language plumbing: the one place that decides, as data.
//!
//! Two questions, with different answers. A *site* is found from the leaf upwards, so every frame of the language's
//! own crates may be skipped until the first other one. `drop_frames` is applied by viewers from the root downwards
//! and takes away all that is leafward of the first match, so it may name only functions that never call back into
//! a service's code: not `Iterator::map`, not `FnOnce::call_once`, not `Vec::retain`.

/// Why a frame is not where a person would look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plumbing {
    /// jemalloc, or Rust's way to it.
    Allocator,
    /// `core`, `alloc`, `std` or a collection built on them.
    Std,
}

/// C functions of an allocator, without jemalloc's prefixes.
const ALLOCATOR_FUNCTIONS: [&str; 30] = [
    "malloc",
    "calloc",
    "realloc",
    "reallocarray",
    "free",
    "posix_memalign",
    "aligned_alloc",
    "memalign",
    "valloc",
    "pvalloc",
    "mallocx",
    "rallocx",
    "xallocx",
    "sdallocx",
    "malloc_default",
    "malloc_slow",
    "imalloc",
    "imalloc_body",
    "imalloc_no_sample",
    "imalloc_sample",
    "do_rallocx",
    "irallocx_prof",
    "fallback_alloc",
    "calloc_default",
    "prof_alloc_prep",
    "prof_tctx_create",
    "prof_backtrace",
    "prof_backtrace_impl",
    "operator new",
    "operator new[]",
];

/// jemalloc's prefixes for those.
const ALLOCATOR_PREFIXES: [&str; 5] = ["_rjem_je_", "_rjem_", "je_", "__libc_", "__GI___libc_"];

/// Paths of Rust's way to the allocator.
const ALLOCATOR_PATHS: [&str; 10] = [
    "__rust_alloc",
    "__rust_realloc",
    "__rdl_",
    "__rg_",
    "__rustc::",
    "alloc::alloc::",
    "std::alloc::",
    "tikv_jemallocator::",
    "tikv_jemalloc_sys::",
    "allocator_api2::",
];

/// Crates that are not where a person would look.
const STD_CRATES: [&str; 11] = [
    "core::",
    "alloc::",
    "std::",
    "hashbrown::",
    "indexmap::",
    "smallvec::",
    "arrayvec::",
    "bytes::",
    "slab::",
    "__rust_begin_short_backtrace",
    "rust_begin_unwind",
];

/// What a viewer hides, for profile.proto's `drop_frames`: a regular expression in RE2's syntax that viewers match
/// against whole function names. It ends at the functions of the collections that allocate on their own account.
pub(crate) const DROP_FRAMES: &str = concat!(
    // The allocator, in C.
    r"(_rjem_|_rjem_je_|je_|__libc_|__GI___libc_)?",
    r"(malloc|calloc|realloc|reallocarray|posix_memalign|aligned_alloc|memalign|valloc|pvalloc",
    r"|mallocx|rallocx|xallocx|malloc_default|malloc_slow|calloc_default|imalloc\w*|do_rallocx|irallocx_prof\w*|fallback_alloc\w*",
    r"|prof_alloc_prep\w*|prof_tctx_create\w*|prof_backtrace\w*)(\.\w+)*",
    r"|operator new.*",
    // Rust's way to it.
    r"|(__rustc::|__rustc\[\w+\]::)?__(rust|rdl|rg)_\w+",
    r"|<?alloc::alloc::.*|<?(std|alloc)::alloc::.*|<?tikv_jemallocator::.*|<?tikv_jemalloc_sys::.*",
    r"|<\w+ as (core|alloc)::alloc::.*|.* as core::alloc::global::GlobalAlloc>::.*",
    // Vectors, strings, boxes and tables where they grow. Nothing here runs a closure or an iterator.
    r"|<?alloc::raw_vec::.*",
    r"|<?alloc::vec::Vec<.*>::(new|with_capacity|with_capacity_in|try_with_capacity\w*|reserve|reserve_exact|try_reserve\w*|push|push_mut",
    r"|insert|insert_mut|append|append_elements|extend_from_slice|into_boxed_slice|shrink_to_fit|resize|split_off)",
    r"|<?alloc::slice::.*(to_vec|to_vec_in|into_vec|concat|join|repeat)",
    r"|<.* as alloc::slice::.*>::(to_vec|to_vec_in|concat|join)",
    r"|<.* as alloc::vec::spec_from_elem::SpecFromElem>::from_elem|alloc::vec::from_elem.*",
    r"|<?alloc::string::String>?::(with_capacity|push|push_str|reserve|reserve_exact|insert|insert_str|from_utf8_lossy)",
    r"|<alloc::string::String as (core::clone::Clone|core::convert::From<.*>|core::fmt::Write|core::ops::arith::Add.*)>::\w+",
    r"|<str as alloc::(borrow::ToOwned|string::ToString|string::SpecToString)>::.*|alloc::str::.*",
    r"|<?alloc::(boxed::Box|rc::Rc|sync::Arc)<.*>::(new|new_uninit|new_in|new_uninit_in|pin|from)(_in)?",
    r"|<?alloc::(rc|sync)::\w*(allocate_for_layout|box_new).*|alloc::boxed::box_new.*",
    r"|<?alloc::collections::vec_deque::VecDeque<.*>::(with_capacity\w*|grow|push_back|push_front|push_\w+_mut|reserve|reserve_exact)",
    r"|<?alloc::collections::btree::(node|map::entry)::.*",
    r"|<?alloc::collections::btree::(map::BTreeMap|set::BTreeSet)<.*>::insert",
    r"|<?alloc::collections::binary_heap::BinaryHeap<.*>::(push|reserve)",
    r"|<?hashbrown::raw::.*",
    r"|<?hashbrown::(map::HashMap|set::HashSet)<.*>::(with_capacity\w*|reserve|insert|try_reserve)",
    r"|<?std::collections::hash::(map::HashMap|set::HashSet)<.*>::(with_capacity\w*|reserve|insert|try_reserve)",
);

/// Parts of the paths of source files that are not where a person would look: where a name says too little, because
/// the debug information gives inlined functions their short names alone.
const ALLOCATOR_FILES: [&str; 3] = ["/tikv-jemallocator-", "/tikv-jemalloc-sys-", "/library/alloc/src/alloc.rs"];
const STD_FILES: [&str; 8] = [
    "/library/core/",
    "/library/alloc/",
    "/library/std/",
    "/hashbrown-",
    "/indexmap-",
    "/smallvec-",
    "/arrayvec-",
    "/bytes-",
];

/// What kind of plumbing the function `name` (demangled) in `file` is; `None` for a place where a person would look.
pub(crate) fn plumbing(name: &str, file: &str) -> Option<Plumbing> {
    by_name(name).or_else(|| {
        let contains = |parts: &[&str]| parts.iter().any(|part| file.contains(part));
        // `push<T, alloc::alloc::Global>` is a short name too.
        if name.split('<').next().is_some_and(|path| path.contains("::")) || name.starts_with('<') {
            None
        } else if contains(&ALLOCATOR_FILES) {
            Some(Plumbing::Allocator)
        } else if contains(&STD_FILES) {
            Some(Plumbing::Std)
        } else {
            None
        }
    })
}

fn by_name(name: &str) -> Option<Plumbing> {
    let unprefixed = ALLOCATOR_PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name);
    // Compilers append suffixes such as `.cold` or `.isra.0`.
    let bare = unprefixed.split('.').next().unwrap_or(unprefixed);
    if ALLOCATOR_FUNCTIONS.contains(&bare) {
        return Some(Plumbing::Allocator);
    }
    let path = defining_path(name);
    let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| path.starts_with(prefix));
    if starts(&ALLOCATOR_PATHS) || name.contains(" as core::alloc::global::GlobalAlloc>") {
        Some(Plumbing::Allocator)
    } else if starts(&STD_CRATES) {
        Some(Plumbing::Std)
    } else {
        None
    }
}

/// The path that says who wrote the function: that of the type, or of the trait where the type says nothing.
///
/// `<alloc::vec::Vec<T>>::push` is alloc's. `<service::Key as core::clone::Clone>::clone` is the service's, but
/// `<T as alloc::slice::ConvertVec>::to_vec`, `<u8 as …>` and every `<X as alloc::…>` are the blanket code of alloc.
fn defining_path(name: &str) -> &str {
    let Some(inside) = name.strip_prefix('<') else { return name };
    let (this, of_trait) = match split_as(inside) {
        Some((this, of_trait)) => (this, Some(of_trait)),
        None => (inside, None),
    };
    let this = this.trim_start_matches(['<', '&', '[', '(', '*', ' ']);
    let this = ["mut ", "const ", "dyn "].iter().fold(this, |this, word| this.trim_start_matches(word));
    match of_trait {
        // A generic parameter or a primitive type: no path, so the trait's.
        Some(of_trait) if of_trait.starts_with("alloc::") || !has_path(this) => of_trait,
        None if !has_path(this) => "core::",
        _ => this,
    }
}

/// Whether the type starts with a path, as opposed to `T`, `u8` or `str`.
fn has_path(this: &str) -> bool {
    let word = this.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(this.len());
    this[word..].starts_with("::") || this[word..].starts_with('[') && this.contains("]::")
}

/// Splits `A as B>::c` at the ` as ` that is not inside of brackets.
fn split_as(inside: &str) -> Option<(&str, &str)> {
    let mut depth = 0i32;
    for (at, byte) in inside.bytes().enumerate() {
        match byte {
            b'<' | b'(' | b'[' => depth += 1,
            b'>' if inside.as_bytes()[..at].last() == Some(&b'-') => {}
            b'>' | b')' | b']' => depth -= 1,
            b' ' if depth == 0 && inside[at..].starts_with(" as ") => {
                return Some((&inside[..at], &inside[at + 4..]));
            }
            _ => {}
        }
        if depth < 0 {
            return None;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(expect: Option<Plumbing>, names: &[&str]) {
        for name in names {
            assert_eq!(plumbing(name, "src/main.rs"), expect, "{name}");
        }
    }

    #[test]
    fn allocator() {
        check(
            Some(Plumbing::Allocator),
            &[
                "malloc",
                "_rjem_malloc",
                "prof_backtrace_impl",
                "imalloc_body.isra.0",
                "__rust_alloc",
                "__rustc::__rust_realloc",
                "alloc::alloc::Global::alloc_impl",
                "operator new",
                "<alloc::alloc::Global as core::alloc::Allocator>::allocate",
                "<tikv_jemallocator::Jemalloc as core::alloc::global::GlobalAlloc>::alloc",
            ],
        );
    }

    #[test]
    fn language_and_collections() {
        check(
            Some(Plumbing::Std),
            &[
                "alloc::raw_vec::RawVec<T,A>::grow_one",
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
    fn short_names_are_told_by_their_files() {
        let std = "/rustc/0123456789abcdef/library/alloc/src/vec/mod.rs";
        assert_eq!(plumbing("push<u8, alloc::alloc::Global>", std), Some(Plumbing::Std));
        assert_eq!(plumbing("push", std), Some(Plumbing::Std));
        assert_eq!(plumbing("alloc", "/rustc/0/library/alloc/src/alloc.rs"), Some(Plumbing::Allocator));
        assert_eq!(plumbing("alloc", "/x/tikv-jemallocator-0.7.0/src/lib.rs"), Some(Plumbing::Allocator));
        assert_eq!(plumbing("open_session", "/srv/service/src/session.rs"), None);
        assert_eq!(plumbing("service::x", std), None, "a full name says more than a file");
    }

    #[test]
    fn the_service() {
        check(
            None,
            &[
                "service::session::SessionStore::open",
                "<service::session::SessionStore>::open",
                "<service::Key as core::clone::Clone>::clone",
                "<service::Key<T> as core::iter::Iterator>::next",
                "service::main::{{closure}}",
                "tokio::runtime::task::core::Core<T,S>::poll",
                "mallory::free_session",
                "main",
                "",
            ],
        );
    }
}
