//! Which frames are allocator and language plumbing: the one place that decides, as data.
//!
//! Two questions, with different answers. A *site* is found from the leaf upwards, so every frame of the language's
//! own crates may be skipped until the first other one. A rule is applied from the root downwards and takes away all
//! that is leafward of the first match, so it may name only functions that never call back into a service's code: not
//! `Iterator::map`, not `FnOnce::call_once`, not `Vec::retain`.

use super::Trim::{self, Allocator, Std};

/// The rules of `trim` as one regular expression in RE2's syntax; empty for [`Trim::None`].
pub(super) fn expression(trim: Trim) -> String {
    let rules = RULES.iter().filter(|(level, _)| *level <= trim).map(|(_, rule)| *rule);
    rules.collect::<Vec<_>>().join("|").replace("{T}", TYPES).replace("{GENERICS}", GENERICS)
}

/// `{T}`: any types, but not `A as B`: that would take the methods of a service's own trait on `Vec` for those of `Vec`.
const TYPES: &str = r"(?:[^ ]|, |; |mut |dyn |const | \+ | = )*";

/// `{GENERICS}`: the types that a method was made for, which some names tell.
const GENERICS: &str = "(?:(?:::)?<.*)?";

/// The functions of the allocator, of the collections and of the language that allocate on their own account: none
/// that runs a closure or an iterator. What runs under them is what a value says of itself, `Hash`, `Eq` and `Ord` of a
/// key, `Clone` of an element, `Display` of what is formatted: what that allocates counts for whoever called the
/// collection.
///
/// A name comes in one of three forms: `alloc::vec::Vec<T>::push` or `<alloc::vec::Vec<u8>>::push`, as the symbol was
/// mangled, and `alloc::vec::push<u8>`, for what was inlined where the debug information holds line tables alone.
///
/// No group captures: each one that does costs the matcher memory for every state of all rules.
pub(super) const RULES: [(Trim, &str); 56] = [
    // The allocator, in C.
    (
        Allocator,
        r"(?:_rjem_|_rjem_je_|je_|__libc_|__GI___libc_)?(?:malloc|calloc|realloc|reallocarray|posix_memalign|aligned_alloc|memalign|valloc|pvalloc)(?:\.\w+)*",
    ),
    (
        Allocator,
        r"(?:_rjem_|_rjem_je_|je_)?(?:mallocx|rallocx|xallocx|malloc_default|malloc_slow|calloc_default|imalloc\w*|do_rallocx|irallocx_prof\w*|fallback_alloc\w*)(?:\.\w+)*",
    ),
    (Allocator, r"(?:_rjem_je_|je_)?(?:prof_alloc_prep\w*|prof_tctx_create\w*|prof_backtrace\w*)(?:\.\w+)*"),
    (Allocator, "operator new.*"),
    // The same as the linker knows it.
    (Allocator, r"_Zn[wa][jm]\w*"),
    // Rust's way to it. Not all of `__rust_*`: `__rust_try` stands at the root of every thread and around every task.
    (Allocator, r"(?:__rustc::|__rustc\[\w+\]::)?__(?:rust_(?:alloc|alloc_zeroed|realloc|dealloc)|rdl_\w+|rg_\w+)"),
    (Allocator, "<?(?:alloc|std)::alloc::.*"),
    (Allocator, r"<?allocator_api2::(?:\w+::)*alloc::.*"),
    (Allocator, "<?tikv_jemalloc(?:ator|_sys)::.*"),
    (Allocator, r"<\w+ as (?:core|alloc)::alloc::.*"),
    (Allocator, ".* as core::alloc::(?:global::)?GlobalAlloc>::.*"),
    // Vectors and slices.
    (Std, "<?alloc::raw_vec::.*"),
    (
        Std,
        r"<?alloc::vec::(?:Vec<{T}>::)?(?:new|with_capacity(?:_in)?|try_with_capacity\w*|(?:try_)?reserve(?:_exact)?|push|push_mut|insert|insert_mut|append|append_elements){GENERICS}",
    ),
    (
        Std,
        "<?alloc::vec::(?:Vec<{T}>::)?(?:extend_from_slice|extend_from_within|extend_with|into_boxed_slice|shrink_to(?:_fit)?|resize|split_off|clone|from){GENERICS}",
    ),
    (Std, r"<alloc::vec::Vec<{T}> as (?:core::clone::Clone|core::convert::From<{T}>|std::io::Write)>::\w+"),
    (Std, r"std::io::impls::<impl std::io::Write for alloc::vec::Vec<{T}>>::\w+"),
    (Std, "alloc::vec::(?:spec_from_elem::)?from_elem.*"),
    (Std, "<.* as alloc::vec::spec_from_elem::SpecFromElem>::from_elem.*"),
    (
        Std,
        r"<?(?:alloc::slice|alloc::slice::.*|\[{T}\]>)::(?:to_vec|to_vec_in|to_owned|into_vec|concat|join|repeat){GENERICS}",
    ),
    (Std, r"<.* as (?:alloc::slice::.*|<\[.*)>::(?:to_vec|to_vec_in|to_owned|concat|join){GENERICS}"),
    // Strings, and what makes one.
    (
        Std,
        r"<?alloc::string::(?:String>?::)?(?:with_capacity|push|push_str|(?:try_)?reserve(?:_exact)?|insert|insert_str|from_utf8_lossy\w*|into_boxed_str|shrink_to_fit){GENERICS}",
    ),
    (Std, "alloc::string::(?:write_str|write_char|clone|from|add|add_assign|to_string|spec_to_string){GENERICS}"),
    (
        Std,
        r"<alloc::string::String as (?:core::clone::Clone|core::convert::From<{T}>|core::fmt::Write|core::ops::arith::Add(?:Assign)?<{T}>)>::\w+",
    ),
    (Std, r"<str>::(?:to_owned|into_string|repeat|to_uppercase|to_lowercase|to_ascii_\w+)"),
    (
        Std,
        r"alloc::str::(?:<impl str>::)?(?:to_owned|into_string|repeat|to_uppercase|to_lowercase|to_ascii_\w+|join|concat|join_generic_copy){GENERICS}",
    ),
    (Std, r"alloc::(?:str|slice)::<impl alloc::borrow::ToOwned for (?:str|\[T\])>::to_owned"),
    (
        Std,
        r"<(?:T|&?str|char|alloc::string::String|\[{T}\]) as alloc::(?:borrow::ToOwned|string::ToString|string::SpecToString)>::\w+",
    ),
    (Std, "alloc::fmt::format(?:::.*)?"),
    (Std, "<?alloc::borrow::(?:Cow<{T}>::)?(?:into_owned|to_mut){GENERICS}"),
    (Std, "<?alloc::ffi::c_str::(?:CString>?::)?(?:_?from_vec_unchecked|(?:new::)?spec_new_impl_bytes)"),
    (Std, r"<&(?:mut )?(?:str|\[u8\]) as <?alloc::ffi::c_str::CString>?::new::SpecNewImpl>::spec_new_impl"),
    (
        Std,
        "<?(?:std::sys::os_str|std::ffi::os_str)::(?:.*::)?(?:to_owned|to_os_string|push|push_slice|with_capacity|reserve){GENERICS}",
    ),
    (
        Std,
        "<?std::path::(?:(?:Path|PathBuf)>?::)?(?:to_path_buf|_join|_push|_set_extension|_with_file_name|from){GENERICS}",
    ),
    (Std, r"<std::(?:path::PathBuf|ffi::os_str::OsString) as (?:core::clone::Clone|core::convert::From<{T}>)>::\w+"),
    // Boxes. Neither `new_cyclic` nor `default`, which run more of a service's code than what a value says of itself.
    (Std, "alloc::boxed::box_new.*"),
    (Std, r"<?alloc::(?:rc|sync)::\w*(?:allocate_for_layout|box_new).*"),
    (
        Std,
        r"<?alloc::(?:boxed|rc|sync)::(?:(?:Box|Rc|Arc)<{T}>::)?(?:try_)?(?:new|new_in|new_uninit\w*|new_zeroed\w*|pin|pin_in|clone_from_ref\w*|from_box\w*|allocate_\w+|copy_from_slice){GENERICS}",
    ),
    (Std, r"<alloc::(?:boxed::Box|rc::Rc|sync::Arc)<{T}> as (?:core::clone::Clone|core::convert::From<{T}>)>::\w+"),
    (
        Std,
        "alloc::(?:boxed::convert|boxed|rc|sync|vec|string|str)::(?:<impl core::convert::From<{T}> for {T}>::)?from{GENERICS}",
    ),
    // The other collections.
    (
        Std,
        r"<?alloc::collections::vec_deque::(?:VecDeque<{T}>::)?(?:with_capacity\w*|grow|push_\w+|insert|(?:try_)?reserve(?:_exact)?|resize|append){GENERICS}",
    ),
    (Std, r"<?alloc::collections::linked_list::(?:LinkedList<{T}>::)?push_\w+{GENERICS}"),
    (
        Std,
        r"<?alloc::collections::binary_heap::(?:BinaryHeap<{T}>::)?(?:with_capacity\w*|push|push_mut|reserve|append){GENERICS}",
    ),
    (Std, "<?alloc::collections::btree::node::.*"),
    (
        Std,
        r"<?alloc::collections::btree::map::entry::(?:(?:Vacant|Occupied)?Entry<{T}>::)?(?:insert\w*|or_insert){GENERICS}",
    ),
    (
        Std,
        "<?alloc::collections::btree::(?:map|set)::(?:(?:BTreeMap|BTreeSet)<{T}>::)?(?:insert|replace|clone|clone_subtree){GENERICS}",
    ),
    (Std, "<alloc::collections::{T} as core::clone::Clone>::clone.*"),
    (Std, "<?hashbrown::raw::.*"),
    (Std, r"<?hashbrown::rustc_entry::(?:.*::)?(?:rustc_entry|insert\w*){GENERICS}"),
    (
        Std,
        r"<?(?:hashbrown|std::collections::hash)::(?:map|set)::(?:(?:HashMap|HashSet)<{T}>::)?(?:with_capacity\w*|(?:try_)?reserve|insert|replace|entry|clone){GENERICS}",
    ),
    (Std, "<(?:hashbrown|std::collections::hash)::(?:map::HashMap|set::HashSet)<{T}> as core::clone::Clone>::clone"),
    (
        Std,
        r"<?indexmap::(?:map|set)::(?:(?:IndexMap|IndexSet)<{T}>::)?(?:with_capacity\w*|reserve\w*|insert|insert_full|entry){GENERICS}",
    ),
    (
        Std,
        r"<?smallvec::(?:SmallVec<{T}>::)?(?:push|insert|(?:try_)?(?:reserve|grow)\w*|with_capacity|from_slice|extend_from_slice|resize){GENERICS}",
    ),
    (
        Std,
        r"<?bytes::(?:bytes|bytes_mut)::(?:(?:Bytes|BytesMut)>?::)?(?:with_capacity|copy_from_slice|reserve\w*|extend_from_slice|resize|from_vec|put_slice|put_bytes){GENERICS}",
    ),
    (Std, "<bytes::(?:bytes::Bytes|bytes_mut::BytesMut) as core::convert::From<{T}>>::from"),
    (Std, r"<bytes::bytes_mut::BytesMut as bytes::buf::buf_mut::BufMut>::put_(?:slice|bytes|[iuf]\d+\w*)"),
    // Channels.
    (
        Std,
        r"<?std::sync::(?:mpsc|mpmc)::(?:.*::)?(?:send|try_send|start_send|new|with_capacity|register\w*|channel|sync_channel){GENERICS}",
    ),
];

/// Crates that are not where a person would look.
const CRATES: [&str; 11] = [
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

/// Where the sources of dependencies are, as debug information names them.
const DEPENDENCIES: [&str; 4] = ["/registry/src/", "/git/checkouts/", "/rustc/", "/library/std/"];

/// Whether a source file is that of a dependency or of the language, and not of the program's own workspace.
pub(crate) fn is_of_a_dependency(file: &str) -> bool {
    DEPENDENCIES.iter().any(|folder| file.contains(folder))
}

/// Whether the function `name` (demangled) belongs to the language or to a collection.
pub(super) fn is_of_the_language(name: &str) -> bool {
    let path = defining_path(name);
    CRATES.iter().any(|prefix| path.starts_with(prefix))
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
