//! A small assembler of classic BPF that cannot jump to the wrong place.
//!
//! A program is put together from its end to its beginning: whatever an instruction can jump to has been
//! emitted before, so there are no open ends to fill in later, no loops, and equal code is emitted once.
//! Conditional jumps reach 255 instructions; farther ones go by way of an unconditional jump, which the
//! assembler inserts by itself.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use libc::sock_filter;

/// The kernel's limit on the length of a program.
const MAX_INSTRUCTIONS: usize = 4096;
/// The size of `struct seccomp_data`.
const DATA: u32 = 64;

pub(super) const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
pub(super) const AND: u16 = (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16;
pub(super) const JUMP: u16 = (libc::BPF_JMP | libc::BPF_JA) as u16;
pub(super) const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
pub(super) const AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
pub(super) const ANY_BIT: u16 = (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16;
pub(super) const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

/// A place in the program, counted from the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Label(usize);

/// A test with what must happen before it, which is emitted in one piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Test {
    /// What is compared with. First, because it tells most of them apart.
    pub(super) operand: u32,
    /// Load this word of the data first.
    pub(super) load: Option<u32>,
    /// Then keep these bits.
    pub(super) and: Option<u32>,
    /// `EQUAL`, `AT_LEAST` or `ANY_BIT`.
    pub(super) op: u16,
}

/// A program in the making.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    /// Last instruction first.
    reversed: Vec<sock_filter>,
    /// A few.
    returns: Vec<(u32, Label)>,
    tests: BTreeMap<(Test, Label, Label), Label>,
    /// The latest unconditional jump to each place that has one.
    relays: BTreeMap<Label, Label>,
}

impl Assembler {
    /// The program ends with this answer.
    pub(super) fn answer(&mut self, value: u32) -> Label {
        if let Some(&(_, label)) = self.returns.iter().find(|(emitted, _)| *emitted == value) {
            return label;
        }
        let label = self.push(RETURN, value, 0, 0);
        self.returns.push((value, label));
        label
    }

    /// The program goes on at `yes` where the test holds and at `no` where it does not. Equal tests are emitted once.
    pub(super) fn test(&mut self, test: Test, yes: Label, no: Label) -> Label {
        if let Some(&label) = self.tests.get(&(test, yes, no)) {
            return label;
        }
        let label = self.branch(test, yes, no);
        self.tests.insert((test, yes, no), label);
        label
    }

    /// The same for a test that has no equal.
    pub(super) fn branch(&mut self, test: Test, yes: Label, no: Label) -> Label {
        let (near_yes, near_no) = (self.near(yes), self.near(no));
        let (jt, jf) = (self.distance(near_yes), self.distance(near_no));
        // `near` keeps both below 256; were it wrong, `finish` would find the jump beyond the end.
        let short = |distance: usize| u8::try_from(distance).unwrap_or(u8::MAX);
        let mut label = self.push(test.op, test.operand, short(jt), short(jf));
        if let Some(mask) = test.and {
            label = self.push(AND, mask, 0, 0);
        }
        if let Some(offset) = test.load {
            label = self.push(LOAD, offset, 0, 0);
        }
        label
    }

    /// The finished program, if it is one that the kernel takes. It begins with what was emitted last.
    pub(super) fn finish(mut self) -> Result<Vec<sock_filter>, &'static str> {
        self.reversed.reverse();
        check(&self.reversed)?;
        Ok(self.reversed)
    }

    /// The same place, or a jump to it that the next instructions can reach.
    fn near(&mut self, label: Label) -> Label {
        // One instruction, another relay, may still come in between.
        const REACH: usize = u8::MAX as usize - 1;
        if self.distance(label) <= REACH {
            return label;
        }
        if let Some(&relay) = self.relays.get(&label)
            && self.distance(relay) <= REACH
        {
            return relay;
        }
        let distance = self.distance(label);
        let relay = self.push(JUMP, u32::try_from(distance).unwrap_or(u32::MAX), 0, 0);
        self.relays.insert(label, relay);
        relay
    }

    /// How many instructions the next one would jump over.
    fn distance(&self, label: Label) -> usize {
        self.reversed.len() - label.0 - 1
    }

    fn push(&mut self, code: u16, k: u32, jt: u8, jf: u8) -> Label {
        self.reversed.push(sock_filter { code, jt, jf, k });
        Label(self.reversed.len() - 1)
    }
}

/// Whether the kernel takes the program: nothing but what this assembler emits, no jump out of it, no way to
/// run off its end.
fn check(program: &[sock_filter]) -> Result<(), &'static str> {
    if program.len() > MAX_INSTRUCTIONS {
        return Err("the filter is longer than the kernel allows");
    }
    if program.last().is_none_or(|last| last.code != RETURN) {
        return Err("the filter does not end with an answer");
    }
    for (at, instruction) in program.iter().enumerate() {
        let rest = program.len() - at - 1;
        let inside = |distance: usize| distance < rest;
        let good = match instruction.code {
            LOAD => instruction.k < DATA && instruction.k.is_multiple_of(4),
            AND | RETURN => true,
            JUMP => inside(instruction.k as usize),
            EQUAL | AT_LEAST | ANY_BIT => inside(instruction.jt.into()) && inside(instruction.jf.into()),
            _ => false,
        };
        if !good {
            return Err("the filter has an instruction that leads nowhere");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn equal(load: u32, operand: u32) -> Test {
        Test { load: Some(load), and: None, op: EQUAL, operand }
    }

    #[test]
    fn equal_code_is_emitted_once() {
        let mut assembler = Assembler::default();
        let (yes, no) = (assembler.answer(1), assembler.answer(0));
        assert_eq!(assembler.answer(1), yes);
        let first = assembler.test(equal(0, 7), yes, no);
        assert_eq!(assembler.test(equal(0, 7), yes, no), first);
        assert_eq!(assembler.finish().expect("a program").len(), 4);
    }

    #[test]
    fn far_jumps() {
        // A chain of tests so long that the first answer is out of reach for nearly all of them.
        let mut assembler = Assembler::default();
        let found = assembler.answer(u32::MAX);
        let mut next = assembler.answer(0);
        for operand in (1..=1000).rev() {
            next = assembler.test(equal(0, operand), found, next);
        }
        let program = assembler.finish().expect("a program");
        assert!(program.len() < 2020, "{}", program.len());
        for number in 0..=1001 {
            let (mut at, mut steps) = (0, 0);
            let answer = loop {
                let sock_filter { code, jt, jf, k } = program[at];
                (at, steps) = (at + 1, steps + 1);
                assert!(steps < 4096);
                match code {
                    LOAD => {}
                    JUMP => at += k as usize,
                    EQUAL => at += usize::from(if number == k { jt } else { jf }),
                    RETURN => break k,
                    _ => panic!("what is {code:#x}?"),
                }
            };
            assert_eq!(answer, if (1..=1000).contains(&number) { u32::MAX } else { 0 }, "{number}");
        }
    }

    #[test]
    fn too_long() {
        let mut assembler = Assembler::default();
        let (found, mut next) = (assembler.answer(1), assembler.answer(0));
        for operand in 0..3000 {
            next = assembler.test(equal(0, operand), found, next);
        }
        assert!(assembler.finish().is_err());
    }

    #[test]
    fn bad_programs_are_seen() {
        let instruction = |code, k, jt, jf| sock_filter { code, jt, jf, k };
        let answer = instruction(RETURN, 0, 0, 0);
        assert!(check(&[answer]).is_ok());
        assert!(check(&[]).is_err());
        for bad in [
            instruction(EQUAL, 0, 1, 0),
            instruction(EQUAL, 0, 0, 255),
            instruction(JUMP, 1, 0, 0),
            instruction(JUMP, u32::MAX, 0, 0),
            instruction(LOAD, 64, 0, 0),
            instruction(LOAD, 2, 0, 0),
            instruction(0xffff, 0, 0, 0),
        ] {
            assert!(check(&[bad, answer]).is_err(), "{bad:?}");
            assert!(check(&[answer, bad]).is_err(), "{bad:?}");
        }
        assert!(check(&[instruction(EQUAL, 0, 1, 0), answer, answer]).is_ok());
    }
}
