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
        .find_map(|header| build_id(info.dlpi_addr, headers, header));
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

/// The build id in a note segment of a loaded file, when the file has mapped that segment to be read.
fn build_id(base: u64, headers: &[libc::Elf64_Phdr], note: &libc::Elf64_Phdr) -> Option<BuildId> {
    let end = note.p_vaddr.checked_add(note.p_memsz)?;
    headers.iter().find(|load| {
        load.p_type == libc::PT_LOAD
            && load.p_flags & libc::PF_R != 0
            && load.p_vaddr <= note.p_vaddr
            // What the file backs: the rest of a segment is not a note's.
            && load.p_vaddr.checked_add(load.p_filesz).is_some_and(|load_end| end <= load_end)
    })?;
    let start = base.wrapping_add(note.p_vaddr) as *const u8;
    // SAFETY: the range lies inside the readable part of a segment that was just looked for; it stays mapped while the
    // linker's lock is held, as it is during the iteration, and nothing writes to notes.
    let notes = unsafe { std::slice::from_raw_parts(start, usize::try_from(note.p_memsz).ok()?) };
    gnu_build_id(notes, if note.p_align == 8 { 8 } else { 4 })
}

/// The build id among ELF notes: name size, data size, type, then name and data, each aligned from the note's start.
/// Source: `readelf`'s reading of SHT_NOTE; 8-byte alignment is that of `.note.gnu.property`.
fn gnu_build_id(mut notes: &[u8], align: usize) -> Option<BuildId> {
    const NT_GNU_BUILD_ID: u32 = 3;
    const HEAD: usize = 12;
    while let Some((head, _)) = notes.split_first_chunk::<HEAD>() {
        let word = |at: usize| u32::from_ne_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let (name_size, data_size, kind) = (word(0) as usize, word(4) as usize, word(8));
        let name_end = HEAD.checked_add(name_size)?;
        let data_at = name_end.checked_next_multiple_of(align)?;
        let data_end = data_at.checked_add(data_size)?;
        let name = notes.get(HEAD..name_end)?;
        let data = notes.get(data_at..data_end)?;
        if kind == NT_GNU_BUILD_ID && name == b"GNU\0" && !data.is_empty() {
            return Some(BuildId(data.into()));
        }
        notes = notes.get(data_end.checked_next_multiple_of(align)?..)?;
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

    fn note(kind: u32, name: &[u8], data: &[u8], align: usize) -> Vec<u8> {
        let mut note = Vec::new();
        for word in [name.len() as u32, data.len() as u32, kind] {
            note.extend(word.to_ne_bytes());
        }
        for part in [name, data] {
            note.extend(part);
            note.resize(note.len().next_multiple_of(align), 0);
        }
        note
    }

    #[test]
    fn the_build_id_is_found_among_other_notes_of_either_alignment() {
        for align in [4, 8] {
            let mut notes = note(5, b"GNU\0", &[9; 20], align);
            notes.extend(note(3, b"Go\0\0", &[8; 7], align));
            notes.extend(note(3, b"GNU\0", &[1, 2, 3], align));
            assert_eq!(gnu_build_id(&notes, align).unwrap().to_string(), "010203", "{align}");
            for end in 0..notes.len() - 8 {
                assert_eq!(gnu_build_id(&notes[..end], align), None, "cut at {end}");
            }
        }
        assert_eq!(gnu_build_id(&[0xff; 40], 4), None, "sizes that overflow");
    }

    #[test]
    fn an_address_outside_of_every_file_has_no_mapping() {
        assert_eq!(Mapping::find(&loaded_mappings(), Address(8)), None);
        assert_eq!(Mapping::find(&[], Address(8)), None);
    }
}
