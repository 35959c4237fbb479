//! From the table to the seccomp program.
//!
//! For each ABI the program is a binary search over ranges of numbers with the same answer; behind a number
//! whose answer depends on registers come its rules in order. All that leads to a constant answer looks at
//! nothing but the ABI and the number, so that the kernel precomputes these answers (its bitmap of allowed
//! calls) and an allowed call does not even run the program.
//!
//! libseccomp knows the names and numbers (`build.rs`), but does not build the program: with this table it takes ten
//! milliseconds of every start where this module takes a small part of one; it has no order of rules, so that
//! "the first that matches" would have to be turned into disjoint conditions; it cannot name calls that are
//! newer than itself; and a rule for `socket` on 32-bit x86 silently becomes one for `socketcall` as well.
//! The simulation in the tests compares the program with the table for every call.
#![forbid(unsafe_code)]

use libc::sock_filter;

use super::abi::{self, Abi};
use super::assembler::{ANY_BIT, AT_LEAST, Assembler, EQUAL, Label, Test};
use super::row::{Action, Cond, Row, Shape};
use crate::error::{Error, ErrorKind, Result};

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGS: u32 = 16;

/// A seccomp program.
#[derive(Debug, Clone)]
pub(crate) struct Filter {
    /// For `seccomp(2)`.
    pub(crate) instructions: Vec<sock_filter>,
}

impl Filter {
    /// The program as `bwrap --seccomp` and other loaders take it: `struct sock_filter` after `struct
    /// sock_filter`.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let bytes = |&sock_filter { code, jt, jf, k }: &sock_filter| {
            let ([c0, c1], [k0, k1, k2, k3]) = (code.to_ne_bytes(), k.to_ne_bytes());
            [c0, c1, jt, jf, k0, k1, k2, k3]
        };
        self.instructions.iter().flat_map(bytes).collect()
    }
}

/// What the program answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Verdict {
    Allow,
    Notify,
    /// The call fails, or with zero reports success.
    Errno(i32),
    /// For an ABI that the machine should not have.
    Kill,
}

impl Verdict {
    /// What a number gets that the table does not have.
    pub(super) const UNKNOWN: Self = Self::Errno(libc::ENOSYS);

    /// The verdict that an action means in a sandbox of this shape.
    pub(super) fn of(action: Action, shape: &Shape) -> Self {
        match action {
            Action::Notify(class) if shape.mediates(class) => Self::Notify,
            Action::RefuseIn(class, errno, _) if shape.mediates(class) => Self::Errno(errno as i32),
            Action::Allow | Action::Notify(_) | Action::RefuseIn(..) => Self::Allow,
            Action::Refuse(errno, _) => Self::Errno(errno as i32),
            Action::Pretend(_) => Self::Errno(0),
        }
    }

    /// The value that the program returns.
    pub(super) fn value(self) -> u32 {
        match self {
            Self::Allow => libc::SECCOMP_RET_ALLOW,
            Self::Notify => libc::SECCOMP_RET_USER_NOTIF,
            Self::Errno(errno) => libc::SECCOMP_RET_ERRNO | (errno as u32 & libc::SECCOMP_RET_DATA),
            Self::Kill => libc::SECCOMP_RET_KILL_PROCESS,
        }
    }
}

/// Makes the program of a sandbox that mediates what the shape says.
#[cfg(test)]
pub(super) fn compile(shape: &Shape) -> Result<Filter> {
    compile_without(shape, &[])
}

/// Makes the program of a sandbox that mediates what the shape says, with gaps: the calls of these names are allowed, whatever
/// the table says.
pub(crate) fn compile_without(shape: &Shape, gaps: &[&str]) -> Result<Filter> {
    let mut assembler = Assembler::default();
    let mut next = assembler.answer(Verdict::Kill.value());
    for abi in Abi::ALL.into_iter().rev() {
        let numbers = search(&mut assembler, shape, gaps, abi);
        let test = Test { load: Some(ARCH), and: None, op: EQUAL, operand: abi.audit() };
        next = assembler.test(test, numbers, next);
    }
    let instructions = assembler.finish().map_err(|text| {
        Error::new(ErrorKind::System, format!("cannot make the system call filter: {text}"))
    })?;
    Ok(Filter { instructions })
}

/// Where the numbers from here to the next segment lead.
struct Segment {
    first: u32,
    label: Label,
}

/// The program of one ABI.
fn search(assembler: &mut Assembler, shape: &Shape, gaps: &[&str], abi: Abi) -> Label {
    let unknown = assembler.answer(Verdict::UNKNOWN.value());
    let forgotten = assembler.answer(Verdict::Allow.value());
    let mut segments: Vec<Segment> = Vec::new();
    let mut add = |first, label| {
        if segments.last().is_none_or(|last| last.label != label) {
            segments.push(Segment { first, label });
        }
    };
    let numbers = abi::numbers(abi);
    for (first, row) in (0..).zip(numbers) {
        let label = match row {
            None => unknown,
            Some(row) if gaps.contains(&row.name) => forgotten,
            Some(row) => Rules::of(row, shape, abi).emit(assembler),
        };
        add(first, label);
    }
    // All numbers above, with those of x32 and the negative ones.
    add(numbers.len() as u32, unknown);
    bisect(assembler, &segments, Some(NUMBER))
}

/// The binary search. The number is loaded once, at the root.
fn bisect(assembler: &mut Assembler, segments: &[Segment], load: Option<u32>) -> Label {
    let middle = segments.len() / 2;
    if middle == 0 {
        return segments[0].label;
    }
    let high = bisect(assembler, &segments[middle..], None);
    let low = bisect(assembler, &segments[..middle], None);
    let test = Test { load, and: None, op: AT_LEAST, operand: segments[middle].first };
    assembler.branch(test, high, low)
}

/// A rule, a condition in it, and the word that is loaded there.
type Place = (usize, usize, Option<u32>);

/// The rules of one row for one shape and ABI, and the code that was emitted for them.
struct Rules {
    abi: Abi,
    rules: Vec<(&'static [Cond], Verdict)>,
    otherwise: Verdict,
    /// A few.
    emitted: Vec<(Place, Label)>,
}

impl Rules {
    fn of(row: &'static Row, shape: &Shape, abi: Abi) -> Self {
        let otherwise = Verdict::of(row.otherwise, shape);
        let mut rules: Vec<_> =
            row.rules.iter().map(|rule| (rule.when, Verdict::of(rule.action, shape))).collect();
        // Last rules that change nothing; without them the answer is a constant more often.
        while rules.pop_if(|(_, verdict)| *verdict == otherwise).is_some() {}
        Self { abi, rules, otherwise, emitted: Vec::new() }
    }

    fn emit(mut self, assembler: &mut Assembler) -> Label {
        self.step(assembler, 0, 0, None)
    }

    /// The code that goes on with this condition of this rule, when this word is loaded.
    fn step(&mut self, assembler: &mut Assembler, rule: usize, cond: usize, loaded: Option<u32>) -> Label {
        let Some(&(when, verdict)) = self.rules.get(rule) else {
            return assembler.answer(self.otherwise.value());
        };
        let Some(&test) = when.get(cond) else {
            return assembler.answer(verdict.value());
        };
        let key = (rule, cond, loaded);
        if let Some(&(_, label)) = self.emitted.iter().find(|(emitted, _)| *emitted == key) {
            return label;
        }
        let label = match test {
            Cond::Low { arg, mask, is } => {
                let word = low(arg);
                // A mask that the accumulator takes loses the word.
                let (and, after) = if mask == u32::MAX { (None, Some(word)) } else { (Some(mask), None) };
                let yes = self.step(assembler, rule, cond + 1, after);
                let no = self.step(assembler, rule + 1, 0, after);
                assembler.test(Test { load: fetch(word, loaded), and, op: EQUAL, operand: is }, yes, no)
            }
            Cond::Any { arg, mask } => {
                let word = low(arg);
                let yes = self.step(assembler, rule, cond + 1, Some(word));
                let no = self.step(assembler, rule + 1, 0, Some(word));
                assembler.test(
                    Test { load: fetch(word, loaded), and: None, op: ANY_BIT, operand: mask },
                    yes,
                    no,
                )
            }
            Cond::Null { arg } => self.zero(assembler, arg, loaded, (rule, cond + 1), (rule + 1, 0)),
            Cond::NotNull { arg } => self.zero(assembler, arg, loaded, (rule + 1, 0), (rule, cond + 1)),
        };
        self.emitted.push((key, label));
        label
    }

    /// Tests whether a whole register is zero, and goes on with this or that condition of a rule. The upper
    /// half is only looked at where the kernel looks at it.
    fn zero(
        &mut self,
        assembler: &mut Assembler,
        arg: u8,
        loaded: Option<u32>,
        zero: (usize, usize),
        other: (usize, usize),
    ) -> Label {
        let (low, high) = (low(arg), high(arg));
        let is_zero = |word, loaded| Test { load: fetch(word, loaded), and: None, op: EQUAL, operand: 0 };
        let yes = self.step(assembler, zero.0, zero.1, Some(low));
        let no = self.step(assembler, other.0, other.1, Some(low));
        if !self.abi.is_wide() {
            return assembler.test(is_zero(low, loaded), yes, no);
        }
        let lower = assembler.test(is_zero(low, None), yes, no);
        let no = self.step(assembler, other.0, other.1, Some(high));
        assembler.test(is_zero(high, loaded), lower, no)
    }
}

/// The offset of an argument's lower half.
fn low(arg: u8) -> u32 {
    ARGS + 8 * u32::from(arg)
}

/// The offset of an argument's upper half.
fn high(arg: u8) -> u32 {
    low(arg) + 4
}

/// What to load to have the word.
fn fetch(word: u32, loaded: Option<u32>) -> Option<u32> {
    (loaded != Some(word)).then_some(word)
}
