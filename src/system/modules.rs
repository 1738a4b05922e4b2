//! Which files are loaded where, from the dynamic linker's own list: no file is opened.

use std::ffi::{CStr, c_int, c_void};

use crate::profile::{BuildId, Mapping};

/// The executable segments of all loaded files, sorted by start address.
pub(crate) fn loaded_mappings() -> Vec<Mapping> {
    let mut mappings: Vec<Mapping> = Vec::new();
    // SAFETY: the callback gets `mappings` back as its last argument, and only during this call.
    unsafe { libc::dl_iterate_phdr(Some(visit), (&raw mut mappings).cast()) };
    // Outside of the iteration, which holds the linker's lock: other threads unwind and load meanwhile.
    for mapping in &mut mappings {
        mapping.path = full_path(&mapping.path);
    }
    mappings.sort_by_key(|mapping| mapping.start);
    mappings
}

/// A number that changes whenever a file is loaded or unloaded.
pub(crate) fn modules_generation() -> u64 {
    let mut generation = 0u64;
    // SAFETY: the callback gets `generation` back as its last argument, and only during this call.
    unsafe { libc::dl_iterate_phdr(Some(visit_generation), (&raw mut generation).cast()) };
    generation
}

unsafe extern "C" fn visit_generation(info: *mut libc::dl_phdr_info, _size: usize, generation: *mut c_void) -> c_int {
    // SAFETY: the linker hands a valid `info`, and back the pointer that `modules_generation` gave it.
    unsafe { *generation.cast::<u64>() = (*info).dlpi_adds.wrapping_add((*info).dlpi_subs) };
    1
}

unsafe extern "C" fn visit(info: *mut libc::dl_phdr_info, _size: usize, mappings: *mut c_void) -> c_int {
    // SAFETY: the linker hands a valid `info`, and back the pointer that `loaded_mappings` gave it.
    let (info, mappings) = unsafe { (&*info, &mut *mappings.cast::<Vec<Mapping>>()) };
    let headers = if info.dlpi_phdr.is_null() {
        &[]
    } else {
        // SAFETY: `dlpi_phdr` points to `dlpi_phnum` program headers of a loaded file.
        unsafe { std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) }
    };
    let name = if info.dlpi_name.is_null() {
        String::new()
    } else {
        // SAFETY: a non-null `dlpi_name` is a string that lives as long as the file is loaded.
        unsafe { CStr::from_ptr(info.dlpi_name) }.to_string_lossy().into_owned()
    };
    let build_id = headers
        .iter()
        .filter(|header| header.p_type == libc::PT_NOTE)
        .find_map(|header| build_id(info.dlpi_addr, header));
    for header in headers {
        if header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_X != 0 {
            let start = info.dlpi_addr.wrapping_add(header.p_vaddr);
            mappings.push(Mapping {
                start,
                limit: start.wrapping_add(header.p_memsz),
                file_offset: header.p_offset,
                path: name.clone(),
                build_id: build_id.clone(),
            });
        }
    }
    0
}

/// The linker leaves the program's own name empty, and gives the vDSO's without a slash.
fn full_path(name: &str) -> String {
    if name.is_empty() {
        return match std::fs::read_link("/proc/self/exe") {
            Ok(path) => path.to_string_lossy().into_owned(),
            Err(_) => "[program]".to_owned(),
        };
    }
    if name.starts_with("linux-vdso") || name.starts_with("linux-gate") {
        return "[vdso]".to_owned();
    }
    // A relative name was relative to the folder at load time, which nobody remembers: canonical if it still is.
    match std::fs::canonicalize(name) {
        Ok(path) => path.to_string_lossy().into_owned(),
        Err(_) => name.to_owned(),
    }
}

fn build_id(base: u64, header: &libc::Elf64_Phdr) -> Option<BuildId> {
    const NT_GNU_BUILD_ID: u32 = 3;
    let start = base.wrapping_add(header.p_vaddr) as *const u8;
    // SAFETY: a PT_NOTE segment of a loaded file lies inside one of its PT_LOAD segments, which stay readable while
    // the linker's lock is held, as it is during the iteration.
    let mut notes = unsafe { std::slice::from_raw_parts(start, header.p_memsz as usize) };
    let align = if header.p_align == 8 { 8 } else { 4 };
    while let Some((head, rest)) = notes.split_first_chunk::<12>() {
        let word = |at: usize| u32::from_ne_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let (name_size, data_size, kind) = (word(0) as usize, word(4) as usize, word(8));
        let data_at = name_size.checked_next_multiple_of(align)?;
        let next = data_at.checked_add(data_size)?;
        let name = rest.get(..name_size)?;
        let data = rest.get(data_at..next)?;
        if kind == NT_GNU_BUILD_ID && name == b"GNU\0" && !data.is_empty() {
            return Some(BuildId(data.into()));
        }
        notes = rest.get(next.checked_next_multiple_of(align)?..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Address;

    #[test]
    fn the_program_and_its_c_library_are_found_with_build_ids() {
        let mappings = loaded_mappings();
        assert!(mappings.is_sorted_by_key(|mapping| mapping.start));
        let here = Address(the_program_and_its_c_library_are_found_with_build_ids as *const () as u64);
        let program = &mappings[Mapping::find(&mappings, here).expect("this function is loaded")];
        assert_eq!(program.path, std::env::current_exe().unwrap().to_string_lossy());
        let malloc = Address(libc::getpid as *const () as u64);
        let library = &mappings[Mapping::find(&mappings, malloc).expect("libc is loaded")];
        assert!(library.path.contains("libc"), "{}", library.path);
        assert!(library.build_id.is_some());
        assert_ne!(modules_generation(), 0);
    }

    #[test]
    fn an_address_outside_of_every_file_has_no_mapping() {
        assert_eq!(Mapping::find(&loaded_mappings(), Address(8)), None);
        assert_eq!(Mapping::find(&[], Address(8)), None);
    }
}
