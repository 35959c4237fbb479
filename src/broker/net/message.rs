//! `msghdr`, `mmsghdr` and `iovec` in the layouts of both ABIs.
#![forbid(unsafe_code)]

use super::super::cx::Cx;
use crate::sys::Errno;
use crate::tracee::{Caller, Result, Stop};

/// `UIO_MAXIOV`.
const MAX_PIECES: u64 = 1024;
/// The same of messages: so many are sent by one sendmmsg.
pub(super) const MAX_MESSAGES: u32 = 1024;
/// `MAX_RW_COUNT`: the kernel does no more at once.
const MAX_TOTAL: u64 = 0x7fff_f000;
/// The largest of them all: `mmsghdr` of 64-bit programs.
const MMSGHDR: usize = 64;

/// How structures of the caller are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    /// Pointers and lengths have 64 bits.
    pub(super) wide: bool,
}

/// A message of the caller's: read once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) name: u64,
    pub(super) name_len: i32,
    pub(super) pieces: u64,
    pub(super) pieces_len: u64,
    pub(super) control: u64,
    pub(super) control_len: u64,
}

impl Layout {
    /// That of the call.
    pub(super) fn of(cx: &Cx<'_>) -> Self {
        Self { wide: !cx.caller.is_32bit() }
    }

    /// The size of a `long` and of a pointer.
    pub(super) fn word(self) -> usize {
        if self.wide { 8 } else { 4 }
    }

    /// The size of a `msghdr`.
    fn message(self) -> usize {
        if self.wide { 56 } else { 28 }
    }

    /// The size of a `mmsghdr`, which has a count behind the message.
    pub(super) fn counted(self) -> u64 {
        if self.wide { MMSGHDR as u64 } else { 32 }
    }

    /// Where the count is in it.
    pub(super) fn count(self) -> u64 {
        self.message() as u64
    }

    /// The word at `at`; 0 where `bytes` is shorter.
    pub(super) fn word_at(self, bytes: &[u8], at: usize) -> u64 {
        let word = bytes.get(at..at + self.word()).unwrap_or_default();
        word.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
    }

    fn parse(self, bytes: &[u8]) -> Message {
        let word = |n: usize| self.word_at(bytes, n * self.word());
        // The length of the name is an int, with padding behind it in the wide layout.
        Message {
            name: word(0),
            name_len: word(1) as i32,
            pieces: word(2),
            pieces_len: word(3),
            control: word(4),
            control_len: word(5),
        }
    }

    /// Reads the message at `addr`.
    pub(super) fn read(self, caller: &Caller<'_>, addr: u64) -> Result<Message> {
        let mut bytes = [0; MMSGHDR];
        let bytes = &mut bytes[..self.message()];
        caller.read(addr, bytes)?;
        Ok(self.parse(bytes))
    }
}

/// What a call sends: where it is in the caller's memory.
#[derive(Debug, Default)]
pub(super) struct Data {
    /// Address and length of each piece.
    pieces: Vec<(u64, u64)>,
    /// The sum of the lengths.
    pub(super) total: u64,
}

impl Data {
    /// One piece.
    pub(super) fn new(caller: &Caller<'_>, addr: u64, len: u64) -> Result<Self> {
        let len = len.min(MAX_TOTAL);
        within_reach(caller, addr, len)?;
        Ok(Self { pieces: vec![(addr, len)], total: len })
    }

    /// The pieces of a message.
    pub(super) fn read(caller: &Caller<'_>, layout: Layout, message: &Message) -> Result<Self> {
        if message.pieces_len > MAX_PIECES {
            return Err(Errno::EMSGSIZE.into());
        }
        let word = layout.word();
        let mut bytes = vec![0; message.pieces_len as usize * 2 * word];
        caller.read(message.pieces, &mut bytes)?;
        let mut data = Self::default();
        for piece in bytes.chunks_exact(2 * word) {
            let (addr, len) = (layout.word_at(piece, 0), layout.word_at(piece, word));
            if len > if layout.wide { i64::MAX as u64 } else { i32::MAX as u64 } {
                return Err(Errno::EINVAL.into());
            }
            within_reach(caller, addr, len)?;
            let len = len.min(MAX_TOTAL - data.total);
            data.pieces.push((addr, len));
            data.total += len;
        }
        Ok(data)
    }

    /// Copies up to `max` bytes from `from` on; fewer before what cannot be read, if some are better than none (`partly`).
    pub(super) fn copy(
        &self,
        caller: &Caller<'_>,
        from: u64,
        max: usize,
        partly: bool,
        into: &mut Vec<u8>,
    ) -> Result<()> {
        into.clear();
        let mut skip = from;
        for &(addr, len) in &self.pieces {
            if skip >= len {
                skip -= len;
                continue;
            }
            let n = (len - skip).min((max - into.len()) as u64) as usize;
            let at = into.len();
            into.resize(at + n, 0);
            let read = match caller.read_some(addr.wrapping_add(skip), &mut into[at..]) {
                Err(Stop::Errno(Errno::EFAULT)) => 0,
                read => read?,
            };
            if read < n {
                into.truncate(at + read);
                return if partly && !into.is_empty() { Ok(()) } else { Err(Errno::EFAULT.into()) };
            }
            skip = 0;
            if into.len() == max {
                break;
            }
        }
        Ok(())
    }
}

/// `EFAULT` for what would end beyond the memory that any program has.
fn within_reach(caller: &Caller<'_>, addr: u64, len: u64) -> Result<()> {
    let end = if caller.is_32bit() { 1 << 32 } else { 1 << 56 };
    match addr.checked_add(len) {
        Some(behind) if behind <= end => Ok(()),
        _ => Err(Errno::EFAULT.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_layouts() {
        let message =
            |name_len| Message { name: 1, name_len, pieces: 3, pieces_len: 4, control: 5, control_len: 6 };
        let wide: Vec<u8> = [1_u64, 0xdead_beef_0000_0002, 3, 4, 5, 6, 7]
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect();
        let narrow: Vec<u8> =
            [1_u32, -2_i32 as u32, 3, 4, 5, 6, 7].iter().flat_map(|word| word.to_le_bytes()).collect();
        let (of_wide, of_narrow) = (Layout { wide: true }, Layout { wide: false });
        assert_eq!((wide.len(), narrow.len()), (of_wide.message(), of_narrow.message()));
        assert_eq!(of_wide.parse(&wide), message(2));
        assert_eq!(of_narrow.parse(&narrow), message(-2));
        assert_eq!(size_of::<libc::mmsghdr>() as u64, of_wide.counted());
        assert_eq!(size_of::<libc::msghdr>() as u64, of_wide.count());
    }
}
