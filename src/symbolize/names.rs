//! How functions are called in a profile.

use std::sync::Arc;

use super::lines::join;

/// The crate that a unit was compiled from, as the Rust compiler names its units:
/// `src/main.rs/@/service.4f0c7a1b9d5e3f62-cgu.3` is a part of the crate `service`, whose root is `src/main.rs`.
#[derive(Debug)]
pub(super) struct OwnCrate {
    root: String,
    name: Arc<str>,
}

impl OwnCrate {
    /// The crate of the unit called `name`, compiled in `folder`; `None` when it is not called so.
    pub(super) fn of(name: Option<&[u8]>, folder: Option<&[u8]>) -> Option<Self> {
        let (root, part) = str::from_utf8(name?).ok()?.split_once("/@/")?;
        let (name, _) = part.split_once('.')?;
        let mut path = folder?.to_vec();
        join(&mut path, root.as_bytes());
        Some(Self { root: String::from_utf8(path).ok()?, name: name.into() })
    }

    /// The crate's name, if `file` is its root. Any other file may be another crate's that was inlined.
    pub(super) fn of_file(&self, file: &str) -> Option<Arc<str>> {
        (file == self.root).then(|| self.name.clone())
    }
}

/// The name to show for the symbol `raw`, whose code is in `file`, of `own_crate` where that is sure.
pub(super) fn full_name(raw: &str, file: &str, own_crate: Option<&str>) -> String {
    qualified(demangled(raw), file, own_crate)
}

/// A Rust name without its hash; any other as it is, for the viewer to demangle.
fn demangled(raw: &str) -> String {
    match rustc_demangle::try_demangle(raw) {
        Ok(name) => format!("{name:#}"),
        Err(_) => raw.to_owned(),
    }
}

/// The short name of an inlined function with the path of its module, as far as its file tells: `push<u8>` in
/// `…/library/alloc/src/vec/mod.rs` is `alloc::vec::push<u8>`. Without it, viewers could neither hide the function nor tell it
/// from the service's own `push`. Of a service's own files only the root is known to be of its crate.
fn qualified(name: String, file: &str, own_crate: Option<&str>) -> String {
    // `push<u8, alloc::alloc::Global>` is a short name too.
    let has_path = name.starts_with('<') || name.split('<').next().is_some_and(|path| path.contains("::"));
    match module(file).or(own_crate.map(str::to_owned)) {
        Some(module) if !has_path => format!("{module}::{name}"),
        _ => name,
    }
}

/// The module that a file of the language's library, or of a crate from a registry, is by custom.
fn module(file: &str) -> Option<String> {
    let (folder, inside) = file.strip_suffix(".rs")?.rsplit_once("/src/")?;
    let (parent, package) = folder.rsplit_once('/')?;
    let name = if parent.ends_with("/library") {
        package
    } else {
        // `hashbrown-0.17.0`
        let (name, version) = package.rsplit_once('-')?;
        version.starts_with(|c: char| c.is_ascii_digit()).then_some(name)?
    };
    let mut module = name.replace('-', "_");
    let folders = inside.strip_suffix("/mod").unwrap_or(inside);
    if !["lib", "mod"].contains(&folders) {
        module.push_str("::");
        module.push_str(&folders.replace('/', "::"));
    }
    Some(module)
}

/// Whether `name` tells what the function is in.
pub(super) fn is_mangled(name: &str) -> bool {
    name.starts_with("_R") || name.starts_with("_Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, file: &str, expect: &str) {
        assert_eq!(full_name(name, file, None), expect);
    }

    #[test]
    fn a_short_name_gets_the_module_of_its_file() {
        let std = "/rustc/59807616e1fa2540724bfbac14d7976d7e4a3860/library";
        check(
            "push<u8, alloc::alloc::Global>",
            &format!("{std}/alloc/src/vec/mod.rs"),
            "alloc::vec::push<u8, alloc::alloc::Global>",
        );
        check("alloc", &format!("{std}/alloc/src/alloc.rs"), "alloc::alloc::alloc");
        check("{closure#0}", &format!("{std}/core/src/lib.rs"), "core::{closure#0}");
        let registry = "/home/user/.cargo/registry/src/index-0123456789abcdef";
        check("insert<K, V>", &format!("{registry}/hashbrown-0.17.0/src/map.rs"), "hashbrown::map::insert<K, V>");
        check("alloc", &format!("{registry}/tikv-jemallocator-0.7.0/src/lib.rs"), "tikv_jemallocator::alloc");
        check("insert<K, V>", "/rust/deps/hashbrown-0.16.1/src/raw/mod.rs", "hashbrown::raw::insert<K, V>");
    }

    #[test]
    fn any_other_name_stays() {
        for (name, file) in [
            ("open_session", "/srv/service/src/session.rs"),
            ("open_session", "/srv/my-service/src/session.rs"),
            ("open_session", ""),
            ("alloc::vec::Vec<T,A>::push", "/rustc/0/library/alloc/src/vec/mod.rs"),
            ("<[T]>::to_vec", "/rustc/0/library/alloc/src/slice.rs"),
            ("imalloc", "/build/tikv-jemalloc-sys-0.7.1/src/jemalloc.c"),
        ] {
            check(name, file, name);
        }
    }

    #[test]
    fn a_short_name_in_the_root_of_its_units_crate_gets_the_crate() {
        let unit = |name: &str| OwnCrate::of(Some(name.as_bytes()), Some(b"/srv/service"));
        let own = unit("src/main.rs/@/service.4f0c7a1b9d5e3f62-cgu.3").unwrap();
        let name = |file| full_name("open_session", file, own.of_file(file).as_deref());
        assert_eq!(name("/srv/service/src/main.rs"), "service::open_session");
        assert_eq!(name("/srv/service/src/session.rs"), "open_session", "which may be in a module of any name");
        assert_eq!(name("/srv/other/src/main.rs"), "open_session");
        let whole = full_name("<Store as Drop>::drop", "/srv/service/src/main.rs", Some("service"));
        assert_eq!(whole, "<Store as Drop>::drop");
        for other in ["src/main.c", "src/main.rs/@/", "", "src/main.rs/@/service"] {
            assert!(unit(other).is_none(), "{other}");
        }
        assert!(OwnCrate::of(Some(b"/srv/x/lib.rs/@/x.0"), None).is_none());
    }
}
