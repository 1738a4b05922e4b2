//! The code that is loaded, with its unwind tables, from the dynamic linker's own list: no file is opened.

use std::collections::HashSet;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ops::Range;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::OnceLock;

use rustix::fs::{MemfdFlags, memfd_create};

/// One loaded file.
#[derive(Debug)]
pub(crate) struct LoadedCode {
    /// Its executable segments.
    pub(crate) code: Vec<Range<u64>>,
    /// Its `.eh_frame_hdr`; empty where it has none.
    pub(crate) index: Range<u64>,
    /// Its readable segments, as far as the file backs them; `.eh_frame` lies in one.
    pub(crate) readable: Vec<Range<u64>>,
    /// Whether it is the program, or a library that the program needs: loaded until the end.
    pub(crate) stays: bool,
}

/// A loaded file as the linker tells of it.
struct Entry {
    loaded: LoadedCode,
    names: Vec<CString>,
    needs: Vec<CString>,
}

/// All that is loaded.
pub(crate) fn loaded_code() -> Vec<LoadedCode> {
    let mut entries: Vec<Entry> = Vec::new();
    // SAFETY: the callback gets `entries` back as its last argument, and only during this call.
    unsafe { libc::dl_iterate_phdr(Some(visit), (&raw mut entries).cast()) };
    mark_what_stays(&mut entries);
    entries.into_iter().map(|entry| entry.loaded).collect()
}

/// The program comes first in the list. What it needs, and what that needs, is not unloaded before it.
fn mark_what_stays(entries: &mut [Entry]) {
    let mut open: Vec<usize> = (0..entries.len().min(1)).collect();
    let mut seen: HashSet<usize> = open.iter().copied().collect();
    while let Some(at) = open.pop() {
        entries[at].loaded.stays = true;
        let needs = std::mem::take(&mut entries[at].needs);
        for (other, entry) in entries.iter().enumerate() {
            if entry.names.iter().any(|name| needs.contains(name)) && seen.insert(other) {
                open.push(other);
            }
        }
    }
}

unsafe extern "C" fn visit(info: *mut libc::dl_phdr_info, _size: usize, entries: *mut c_void) -> c_int {
    // SAFETY: the linker hands a valid `info`, and back the pointer that `loaded_code` gave it.
    let (info, entries) = unsafe { (&*info, &mut *entries.cast::<Vec<Entry>>()) };
    let headers = if info.dlpi_phdr.is_null() {
        &[]
    } else {
        // SAFETY: `dlpi_phdr` points to `dlpi_phnum` program headers of a loaded file.
        unsafe { std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) }
    };
    let range = |start: u64, bytes: u64| {
        let start = info.dlpi_addr.wrapping_add(start);
        start..start.saturating_add(bytes)
    };
    let mut loaded = LoadedCode { code: Vec::new(), index: 0..0, readable: Vec::new(), stays: false };
    let mut dynamic = 0..0;
    for header in headers {
        match header.p_type {
            libc::PT_LOAD => {
                if header.p_flags & libc::PF_R != 0 {
                    loaded.readable.push(range(header.p_vaddr, header.p_filesz));
                }
                if header.p_flags & libc::PF_X != 0 {
                    loaded.code.push(range(header.p_vaddr, header.p_memsz));
                }
            }
            libc::PT_GNU_EH_FRAME => loaded.index = range(header.p_vaddr, header.p_memsz),
            libc::PT_DYNAMIC => dynamic = range(header.p_vaddr, header.p_memsz),
            _ => {}
        }
    }
    if !holds(&loaded.readable, &loaded.index) {
        loaded.index = 0..0;
    }
    let mut names = Vec::new();
    if !info.dlpi_name.is_null() {
        // SAFETY: a non-null `dlpi_name` is a string that lives as long as the file is loaded.
        let name = unsafe { CStr::from_ptr(info.dlpi_name) }.to_bytes();
        let file = name.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
        names.extend(CString::new(file).ok().filter(|name| !name.is_empty()));
    }
    let mut needs = Vec::new();
    if holds(&loaded.readable, &dynamic) {
        read_dynamic(info.dlpi_addr, &loaded.readable, &dynamic, &mut names, &mut needs);
    }
    entries.push(Entry { loaded, names, needs });
    0
}

fn holds(segments: &[Range<u64>], part: &Range<u64>) -> bool {
    segments.iter().any(|segment| segment.start <= part.start && part.end <= segment.end)
}

/// What a file is called and what it needs, by its dynamic section.
fn read_dynamic(
    base: u64,
    readable: &[Range<u64>],
    dynamic: &Range<u64>,
    names: &mut Vec<CString>,
    needs: &mut Vec<CString>,
) {
    const DT_NULL: u64 = 0;
    const DT_NEEDED: u64 = 1;
    const DT_STRTAB: u64 = 5;
    const DT_STRSZ: u64 = 10;
    const DT_SONAME: u64 = 14;
    let count = (dynamic.end - dynamic.start) as usize / size_of::<[u64; 2]>();
    if dynamic.start & 7 != 0 {
        return;
    }
    // SAFETY: the section lies in a readable segment of a loaded file, which stays loaded while the linker's lock is held,
    // as it is during the iteration; two words an entry (Elf64_Dyn), which nobody writes to after loading.
    let entries = unsafe { std::slice::from_raw_parts(dynamic.start as *const [u64; 2], count) };
    let entries = || entries.iter().take_while(|[tag, _]| *tag != DT_NULL);
    let find = |wanted: u64| entries().find(|[tag, _]| *tag == wanted).map(|[_, value]| *value);
    let (Some(start), Some(bytes)) = (find(DT_STRTAB), find(DT_STRSZ)) else { return };
    // glibc makes an address of it, other linkers leave the offset.
    let strings = [start, base.wrapping_add(start)].into_iter().map(|start| start..start.saturating_add(bytes));
    let Some(strings) = strings.into_iter().find(|strings| holds(readable, strings)) else { return };
    // SAFETY: as above.
    let strings = unsafe { std::slice::from_raw_parts(strings.start as *const u8, bytes as usize) };
    let string = |at: u64| CStr::from_bytes_until_nul(strings.get(at as usize..)?).ok().map(CStr::to_owned);
    for [tag, value] in entries() {
        match *tag {
            DT_NEEDED => needs.extend(string(*value)),
            DT_SONAME => names.extend(string(*value)),
            _ => {}
        }
    }
}

/// Copies bytes of files that somebody may unload meanwhile. By the kernel, which says where nothing is any more; a read of
/// our own would end the program.
pub(crate) struct Copier {
    /// A file in memory, which the bytes go through.
    through: Option<OwnedFd>,
}

impl Copier {
    pub(crate) fn new() -> Self {
        Self { through: memfd_create("heapward", MemfdFlags::CLOEXEC).ok() }
    }

    /// Fills `buffer` with what is at `start`; `None` where that is not mapped, or where there are no files in memory.
    pub(crate) fn copy<'b>(&self, start: u64, buffer: &'b mut [u8]) -> Option<&'b [u8]> {
        let through = self.through.as_ref()?;
        // SAFETY: it is the kernel that reads at `start`, and it returns EFAULT where it cannot.
        let written = unsafe { libc::pwrite(through.as_raw_fd(), start as *const c_void, buffer.len(), 0) };
        (usize::try_from(written) == Ok(buffer.len())).then_some(())?;
        let read = rustix::io::pread(through, &mut *buffer, 0).ok()?;
        (read == buffer.len()).then_some(buffer)
    }
}

/// Bytes of a loaded file.
///
/// # Safety
///
/// The range lies in a readable segment of a loaded file that nobody writes to, and that stays loaded for as long as the
/// slice is used.
pub(crate) unsafe fn loaded_bytes<'a>(range: &Range<u64>) -> &'a [u8] {
    if range.is_empty() {
        return &[];
    }
    // SAFETY: the caller's promise.
    unsafe { std::slice::from_raw_parts(range.start as *const u8, (range.end - range.start) as usize) }
}

/// `struct dl_find_object` of glibc's dlfcn.h, 2.35.
#[repr(C)]
struct Found {
    flags: u64,
    map_start: *mut c_void,
    map_end: *mut c_void,
    link_map: *mut c_void,
    eh_frame: *mut c_void,
    /// Of a later glibc, and of one later still.
    reserved: [u64; 9],
}

type FindObject = unsafe extern "C" fn(*mut c_void, *mut Found) -> c_int;

/// Asks the linker about an address without a lock, as glibc can from 2.35 on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Linker {
    find: Option<FindObject>,
}

impl Linker {
    /// Looks whether this linker can be asked.
    pub(crate) fn open() -> Self {
        static FIND: OnceLock<Option<FindObject>> = OnceLock::new();
        let find = *FIND.get_or_init(|| {
            const NAME: *const c_char = c"_dl_find_object".as_ptr();
            // SAFETY: the name is a C string.
            let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, NAME) };
            // SAFETY: not null, so it is glibc's function of that name, which has this type.
            (!found.is_null()).then(|| unsafe { std::mem::transmute::<*mut c_void, FindObject>(found) })
        });
        Self { find }
    }

    /// Where the file that holds `address` has its `.eh_frame_hdr`: `Some(None)` when no file holds it, `None` when this
    /// linker cannot be asked. May be called in a signal handler and inside `malloc`.
    pub(crate) fn find(&self, address: u64) -> Option<Option<u64>> {
        let mut found = std::mem::MaybeUninit::<Found>::zeroed();
        // SAFETY: the linker looks the address up in a table of its own and reads nothing there; `found` is a valid place.
        let result = unsafe { self.find?(address as *mut c_void, found.as_mut_ptr()) };
        // SAFETY: all zero is a value of it, and the linker writes valid ones.
        Some((result == 0).then(|| unsafe { found.assume_init() }.eh_frame as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_mapped_is_not_copied() {
        let copier = Copier::new();
        let there = *b"a head";
        let mut buffer = [0; 6];
        assert_eq!(copier.copy(there.as_ptr() as u64, &mut buffer), Some(&there[..]));
        // Of the first page nothing ever is.
        assert_eq!(copier.copy(64, &mut buffer), None);
    }

    #[test]
    fn the_program_and_what_it_needs_stay() {
        let loaded = loaded_code();
        let holding = |address: u64| {
            let code = |loaded: &&LoadedCode| loaded.code.iter().any(|code| code.contains(&address));
            loaded.iter().find(code).expect("loaded")
        };
        let program = holding(the_program_and_what_it_needs_stay as *const () as u64);
        let library = holding(libc::getpid as *const () as u64);
        for loaded in [program, library] {
            assert!(loaded.stays);
            assert!(loaded.index.end > loaded.index.start + 12, "{loaded:?}");
            // SAFETY: of a file that stays loaded.
            let index = unsafe { loaded_bytes(&loaded.index) };
            assert_eq!(index[0], 1, "the version of an index");
        }
        let linker = Linker::open();
        if linker.find.is_some() {
            assert_eq!(linker.find(program.code[0].start + 16), Some(Some(program.index.start)));
            assert_eq!(linker.find(8), Some(None));
        }
    }

    #[test]
    fn what_nobody_needs_does_not_stay() {
        let entry = |names: &[&str], needs: &[&str]| {
            let strings = |texts: &[&str]| texts.iter().map(|text| CString::new(*text).unwrap()).collect();
            let loaded = LoadedCode { code: Vec::new(), index: 0..0, readable: Vec::new(), stays: false };
            Entry { loaded, names: strings(names), needs: strings(needs) }
        };
        let mut entries = [
            entry(&[], &["libone.so.1", "libc.so.6"]),
            entry(&["plugin.so"], &["libplugin.so", "libone.so.1"]),
            entry(&["libone-1.2.so", "libone.so.1"], &["libtwo.so", "libone.so.1"]),
            entry(&["libplugin.so"], &["libc.so.6"]),
            entry(&["libtwo.so"], &[]),
            entry(&["libc.so.6"], &[]),
        ];
        mark_what_stays(&mut entries);
        assert_eq!(entries.map(|entry| entry.loaded.stays), [true, false, true, false, true, true]);
    }
}
