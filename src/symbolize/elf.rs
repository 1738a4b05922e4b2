//! An ELF file of this machine's kind: where its parts are. Source: the System V ABI, `elf(5)`.

use object::NativeEndian;
use object::elf::{self, FileHeader64, ProgramHeader64, SectionHeader64};
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader, SectionTable, SymbolTable};

use crate::profile::{BuildId, Mapping};

/// The only byte order in which a file can have been loaded.
pub(super) const ENDIAN: NativeEndian = NativeEndian;

type Header = FileHeader64<NativeEndian>;
pub(super) type Section = SectionHeader64<NativeEndian>;
pub(super) type Symbols<'d> = SymbolTable<'d, Header>;

/// An ELF file.
#[derive(Debug)]
pub(super) struct Elf<'d> {
    data: &'d [u8],
    segments: &'d [ProgramHeader64<NativeEndian>],
    pub(super) sections: SectionTable<'d, Header>,
}

impl<'d> Elf<'d> {
    /// The file in `data`; `None` when it is none, or damaged.
    pub(super) fn parse(data: &'d [u8]) -> Option<Self> {
        let header = Header::parse(data).ok()?;
        header.endian().ok()?;
        Some(Self {
            data,
            segments: header.program_headers(ENDIAN, data).ok()?,
            sections: header.sections(ENDIAN, data).ok()?,
        })
    }

    /// The GNU build id.
    pub(super) fn build_id(&self) -> Option<BuildId> {
        let of_sections = self.sections.iter().filter_map(|section| section.notes(ENDIAN, self.data).ok()?);
        let of_segments = self.segments.iter().filter_map(|segment| segment.notes(ENDIAN, self.data).ok()?);
        let id = of_sections.chain(of_segments).find_map(|mut notes| {
            while let Ok(Some(note)) = notes.next() {
                if note.name() == elf::ELF_NOTE_GNU && note.n_type(ENDIAN) == elf::NT_GNU_BUILD_ID {
                    return Some(note.desc());
                }
            }
            None
        })?;
        (!id.is_empty()).then(|| BuildId(id.into()))
    }

    /// The address that the file itself gives to the first byte of `mapping`; `None` when the file has no such
    /// segment, so is not the one that was mapped.
    pub(super) fn address_of(&self, mapping: &Mapping) -> Option<u64> {
        let segment = self.segments.iter().find(|segment| {
            segment.p_type(ENDIAN) == elf::PT_LOAD
                && segment.p_flags(ENDIAN).contains(elf::PF_X)
                && segment.p_offset(ENDIAN) == mapping.file_offset
                && segment.p_memsz(ENDIAN) == mapping.limit - mapping.start
        })?;
        Some(segment.p_vaddr(ENDIAN))
    }

    /// Name and checksum of the file that has the debug information, from `.gnu_debuglink`.
    pub(super) fn debug_link(&self) -> Option<(&'d [u8], u32)> {
        let data = self.data_of(self.section(b".gnu_debuglink")?)?;
        let end = data.iter().position(|byte| *byte == 0)?;
        let crc = data.get((end + 1).next_multiple_of(4)..)?.first_chunk()?;
        Some((&data[..end], u32::from_ne_bytes(*crc)))
    }

    /// The section of this name that has bytes in this file.
    pub(super) fn section(&self, name: &[u8]) -> Option<&'d Section> {
        let (_, section) = self.sections.section_by_name(ENDIAN, name)?;
        (section.sh_type(ENDIAN) != elf::SHT_NOBITS && section.sh_size(ENDIAN) > 0).then_some(section)
    }

    /// The bytes of a section, as they stand in the file.
    pub(super) fn data_of(&self, section: &Section) -> Option<&'d [u8]> {
        section.data(ENDIAN, self.data).ok()
    }

    /// The packed bytes of a compressed section, with how they are packed and the size that they unpack to; `None`
    /// when it is not compressed.
    pub(super) fn packed(&self, section: &Section) -> Option<(elf::CompressionType, u64, &'d [u8])> {
        use object::read::elf::CompressionHeader;
        let (header, offset, size) = section.compression(ENDIAN, self.data).ok()??;
        let start = usize::try_from(offset).ok()?;
        let data = self.data.get(start..)?.get(..usize::try_from(size).ok()?)?;
        Some((header.ch_type(ENDIAN), header.ch_size(ENDIAN), data))
    }

    /// Whether debug information about functions is in this file.
    pub(super) fn has_debug_info(&self) -> bool {
        self.section(b".debug_info").is_some()
    }

    /// The symbols for linking, of a file that was not stripped of them.
    pub(super) fn symbols(&self) -> Option<Symbols<'d>> {
        self.table(elf::SHT_SYMTAB)
    }

    /// The symbols that are needed to load the file.
    pub(super) fn dynamic_symbols(&self) -> Option<Symbols<'d>> {
        self.table(elf::SHT_DYNSYM)
    }

    fn table(&self, kind: elf::SectionType) -> Option<Symbols<'d>> {
        let table = self.sections.symbols(ENDIAN, self.data, kind).ok()?;
        (!table.is_empty()).then_some(table)
    }
}
