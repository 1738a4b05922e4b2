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

#[track_caller]
fn check_dropped(expect: bool, names: &[&str]) {
    let drop = regex::Regex::new(&format!("^({})$", *DROP_FRAMES)).unwrap();
    for name in names {
        // Viewers look no further than the first round bracket.
        assert_eq!(drop.is_match(name.split('(').next().unwrap()), expect, "{name}");
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
