//! How the binary is linked (R96): position-independent, nothing both writable and executable, relocations read-only.

use crate::binary;

const PROGRAM_HEADER: usize = 56;
const DYNAMIC: u16 = 3;
const LOAD: u32 = 1;
const STACK: u32 = 0x6474_e551;
const RELOCATIONS: u32 = 0x6474_e552;
const EXECUTABLE: u32 = 1;
const WRITABLE: u32 = 2;

fn number<const N: usize>(file: &[u8], at: usize) -> u64 {
    let bytes: [u8; N] = file[at..at + N].try_into().unwrap();
    bytes
        .iter()
        .rev()
        .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// Kind and flags of each segment of a 64-bit ELF file.
fn segments(file: &[u8]) -> Vec<(u32, u32)> {
    assert_eq!(&file[..5], b"\x7fELF\x02");
    let table = usize::try_from(number::<8>(file, 32)).unwrap();
    let count = usize::try_from(number::<2>(file, 56)).unwrap();
    assert_eq!(number::<2>(file, 54), PROGRAM_HEADER as u64);
    let headers = (0..count).map(|index| table + index * PROGRAM_HEADER);
    let word = |at| u32::try_from(number::<4>(file, at)).unwrap();
    headers.map(|at| (word(at), word(at + 4))).collect()
}

#[test]
fn r96_the_binary_is_linked_defensively() {
    let file = std::fs::read(binary()).unwrap();
    assert_eq!(
        number::<2>(&file, 16),
        u64::from(DYNAMIC),
        "position-independent"
    );
    let segments = segments(&file);
    let of = |kind| segments.iter().filter(move |(one, _)| *one == kind);
    assert!(of(LOAD).count() > 1);
    for (_, flags) in of(LOAD) {
        assert_ne!(flags & (EXECUTABLE | WRITABLE), EXECUTABLE | WRITABLE);
    }
    let stacks: Vec<_> = of(STACK).collect();
    assert!(
        matches!(*stacks, [(_, flags)] if flags & EXECUTABLE == 0),
        "{stacks:?}"
    );
    assert_eq!(of(RELOCATIONS).count(), 1);
}
