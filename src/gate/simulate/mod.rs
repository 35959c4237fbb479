//! The filter, run by an interpreter, against the table, read by a person's rules.
//!
//! Every ABI, every number, every register value that a rule can tell from others.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;

use libc::sock_filter;

use super::abi::{Abi, NUMBERS, numbers};
use super::assembler::{AND, ANY_BIT, AT_LEAST, EQUAL, JUMP, LOAD, RETURN};
use super::filter::{Filter, Verdict, compile};
use super::lookup;
use super::row::{Action, Cond, Row, Shape};

mod examples;

const X32: u32 = 0x4000_0000;
const AARCH64: u32 = 0xc000_00b7;
const GARBAGE: u64 = 0xdead_beef_0000_0000;

/// Every shape there is.
fn shapes() -> impl Iterator<Item = Shape> {
    (0..32).map(|bits: u32| Shape {
        // The last three stand alone: no rule looks at them and at another class.
        signal: bits.is_multiple_of(2),
        shared_memory: bits.is_multiple_of(3),
        file_control: bits.is_multiple_of(5),
        magic: bits & 1 != 0,
        write: bits & 2 != 0,
        read: bits & 4 != 0,
        exec: bits & 8 != 0,
        network: bits & 16 != 0,
        sockets: bits % 7 > 3,
    })
}

const NOTHING: Shape = Shape {
    magic: false,
    write: false,
    read: false,
    exec: false,
    network: false,
    sockets: false,
    signal: false,
    shared_memory: false,
    file_control: false,
};
const EVERYTHING: Shape = Shape {
    magic: true,
    write: true,
    read: true,
    exec: true,
    network: true,
    sockets: true,
    signal: true,
    shared_memory: true,
    file_control: true,
};
const WRITE: Shape = Shape { write: true, ..NOTHING };
const NETWORK: Shape = Shape { network: true, ..NOTHING };
const MAGIC: Shape = Shape { magic: true, ..NOTHING };

fn program(shape: &Shape) -> Vec<sock_filter> {
    let Filter { instructions } = compile(shape).expect("a filter");
    instructions
}

/// What the kernel's classic BPF does with the program.
fn run(program: &[sock_filter], arch: u32, nr: u32, args: &[u64; 6]) -> u32 {
    let word = |offset: u32| match offset {
        0 => nr,
        4 => arch,
        8 | 12 => panic!("the instruction pointer is nobody's business"),
        16..64 => {
            let arg = args[(offset as usize - 16) / 8];
            if offset.is_multiple_of(8) { arg as u32 } else { (arg >> 32) as u32 }
        }
        _ => panic!("no word at {offset}"),
    };
    let (mut at, mut accumulator) = (0, 0);
    loop {
        let sock_filter { code, jt, jf, k } = program[at];
        at += 1;
        let mut branch = |holds| at += usize::from(if holds { jt } else { jf });
        match code {
            LOAD => accumulator = word(k),
            AND => accumulator &= k,
            JUMP => at += k as usize,
            EQUAL => branch(accumulator == k),
            AT_LEAST => branch(accumulator >= k),
            ANY_BIT => branch(accumulator & k != 0),
            RETURN => return k,
            _ => panic!("what is {code:#x}?"),
        }
    }
}

/// What the program answers to this call.
fn answer(shape: &Shape, abi: Abi, name: &str, args: &[u64]) -> u32 {
    let nr = numbers(abi).iter().position(|row| row.is_some_and(|row| row.name == name));
    let mut registers = [0; 6];
    registers[..args.len()].copy_from_slice(args);
    run(&program_of(shape), abi.audit(), nr.expect(name) as u32, &registers)
}

/// What the kernel's precomputation of constant answers (`seccomp_is_const_allow`) makes of the program.
fn is_constant(program: &[sock_filter], arch: u32, nr: u32) -> bool {
    let (mut at, mut accumulator) = (0, 0);
    loop {
        let sock_filter { code, jt, jf, k } = program[at];
        at += 1;
        let mut branch = |holds| at += usize::from(if holds { jt } else { jf });
        match (code, k) {
            (LOAD, 0) => accumulator = nr,
            (LOAD, 4) => accumulator = arch,
            (AND, _) => accumulator &= k,
            (JUMP, _) => at += k as usize,
            (EQUAL, _) => branch(accumulator == k),
            (AT_LEAST, _) => branch(accumulator >= k),
            (ANY_BIT, _) => branch(accumulator & k != 0),
            (RETURN, _) => return true,
            _ => return false,
        }
    }
}

/// The table, read as the broker reads it for calls that come in a `socketcall`.
fn reference(row: &Row, shape: &Shape, abi: Abi, args: &[u64; 6]) -> Verdict {
    let args = args.map(|arg| match abi {
        Abi::X86_64 => arg,
        Abi::I386 => u64::from(arg as u32),
    });
    match row.action(&args) {
        Action::Allow => Verdict::Allow,
        Action::Notify(class) => {
            if shape.mediates(class) {
                Verdict::Notify
            } else {
                Verdict::Allow
            }
        }
        Action::Refuse(errno, _) => Verdict::Errno(errno as i32),
        Action::RefuseIn(class, errno, _) if shape.mediates(class) => Verdict::Errno(errno as i32),
        Action::RefuseIn(..) => Verdict::Allow,
        Action::Pretend(_) => Verdict::Errno(0),
    }
}

/// The values of one register that the rules of a row could tell apart.
fn values(row: &Row, wanted: u8) -> Vec<u64> {
    let mut low = BTreeSet::new();
    for cond in row.rules.iter().flat_map(|rule| rule.when) {
        match *cond {
            Cond::Low { arg, mask, is } if arg == wanted => {
                low.extend([is, is | !mask, is ^ (mask & mask.wrapping_neg())]);
                if mask != u32::MAX {
                    low.extend((0..32).map(|bit| 1 << bit).filter(|bit| mask & bit != 0).map(|bit| is ^ bit));
                }
            }
            Cond::Any { arg, mask } if arg == wanted => {
                low.extend([mask, !mask]);
                low.extend((0..32).map(|bit| 1 << bit).filter(|bit| mask & bit != 0));
            }
            Cond::Null { arg } | Cond::NotNull { arg } if arg == wanted => _ = low.insert(1),
            _ => {}
        }
    }
    if low.is_empty() {
        return Vec::new();
    }
    low.extend([0, u32::MAX, libc::AT_FDCWD as u32]);
    let widths = |low: u32| {
        [low.into(), i64::from(low as i32) as u64, GARBAGE | u64::from(low), 1 << 32 | u64::from(low)]
    };
    low.into_iter().flat_map(widths).collect::<BTreeSet<_>>().into_iter().collect()
}

/// Calls the function with every combination of interesting values; the registers without a rule hold
/// zeros, and then ones.
fn each(row: &Row, mut function: impl FnMut(&[u64; 6])) {
    let interesting: Vec<Vec<u64>> = (0..6).map(|arg| values(row, arg)).collect();
    for rest in [0, u64::MAX] {
        let mut chosen = [0; 6];
        loop {
            let mut args = [rest; 6];
            for (arg, values) in interesting.iter().enumerate() {
                if let Some(&value) = values.get(chosen[arg]) {
                    args[arg] = value;
                }
            }
            function(&args);
            let next = (0..6).find(|&arg| {
                chosen[arg] += 1;
                let more = chosen[arg] < interesting[arg].len();
                if !more {
                    chosen[arg] = 0;
                }
                more
            });
            if next.is_none() {
                break;
            }
        }
    }
}

#[test]
fn the_program_is_the_table() {
    let mut compared = 0_usize;
    for shape in shapes() {
        let program = program(&shape);
        for abi in Abi::ALL {
            for nr in 0..=600 {
                let Some(row) = lookup(abi.audit(), nr) else {
                    for args in [[0; 6], [u64::MAX; 6]] {
                        assert_eq!(
                            run(&program, abi.audit(), nr as u32, &args),
                            Verdict::UNKNOWN.value(),
                            "{nr}"
                        );
                    }
                    continue;
                };
                // The longest products, of rules that no shape changes much, need not be done for all of them.
                if row.rules.len() > 8 && ![NOTHING, EVERYTHING, WRITE, NETWORK].contains(&shape) {
                    continue;
                }
                each(row, |args| {
                    let expected = reference(row, &shape, abi, args).value();
                    let got = run(&program, abi.audit(), nr as u32, args);
                    assert_eq!(got, expected, "{abi:?} {} {args:x?} {shape:?}", row.name);
                    compared += 1;
                });
            }
        }
    }
    assert!(compared > 500_000, "{compared}");
}

#[test]
fn g1_architecture_first() {
    let program = program(&EVERYTHING);
    let none = [0; 6];
    assert_eq!(run(&program, Abi::X86_64.audit(), 39, &none), Verdict::Allow.value(), "getpid");
    assert_eq!(run(&program, Abi::I386.audit(), 39, &none), Verdict::Notify.value(), "mkdir");
    for nr in 0..600 {
        for arch in [AARCH64, 0, u32::MAX, 62, 3, 0x8000_0000 | 62] {
            assert_eq!(run(&program, arch, nr, &none), Verdict::Kill.value());
        }
    }
}

#[test]
fn g2_x32_and_its_historic_numbers() {
    for shape in shapes() {
        let program = program(&shape);
        for nr in (0..=600).map(|nr| nr | X32).chain(512..=547) {
            for abi in Abi::ALL {
                assert_eq!(run(&program, abi.audit(), nr, &[0; 6]), Verdict::UNKNOWN.value());
            }
        }
    }
}

#[test]
fn g3_unknown_numbers() {
    for shape in shapes() {
        let program = program(&shape);
        for nr in (470..=700).chain([337, 423, 0x3fff_ffff, 0x7fff_ffff, 0x8000_0000, u32::MAX]) {
            assert_eq!(run(&program, Abi::X86_64.audit(), nr, &[0; 6]), Verdict::UNKNOWN.value(), "{nr}");
        }
        for nr in (470..=700).chain([222, 223, 251, 285, 387, 392, 415, u32::MAX]) {
            assert_eq!(run(&program, Abi::I386.audit(), nr, &[0; 6]), Verdict::UNKNOWN.value(), "{nr}");
        }
    }
}

#[test]
fn g4_argument_width() {
    let eperm = Verdict::Errno(libc::EPERM).value();
    let (allow, notify) = (Verdict::Allow.value(), Verdict::Notify.value());
    for abi in Abi::ALL {
        for high in [0, 1 << 32, GARBAGE, u64::MAX << 32] {
            assert_eq!(answer(&NOTHING, abi, "ioctl", &[0, 0x5412 | high]), eperm, "TIOCSTI");
            assert_eq!(answer(&NOTHING, abi, "clone", &[0x1000_0000 | high]), eperm, "CLONE_NEWUSER");
            assert_eq!(answer(&NOTHING, abi, "fcntl", &[0, 8 | high, 1]), notify, "F_SETOWN");
            assert_eq!(answer(&NOTHING, abi, "fcntl", &[0, 8 | high, 0xffff_fffe | high]), eperm, "a group");
            assert_eq!(answer(&WRITE, abi, "openat", &[0, 0, 0o100 | high]), notify, "O_CREAT");
            assert_eq!(answer(&WRITE, abi, "openat", &[0, 0, high]), allow, "O_RDONLY");
            assert_eq!(answer(&NETWORK, abi, "socket", &[2 | high, 1 | high, high]), allow, "TCP");
            assert_eq!(answer(&NETWORK, abi, "socket", &[17 | high, 1, 0]), notify, "AF_PACKET");
            // An int that is negative when the kernel cuts it, and one that is zero.
            assert_eq!(answer(&NOTHING, abi, "sched_setaffinity", &[0xffff_ffff | high]), notify);
            assert_eq!(answer(&NOTHING, abi, "sched_setaffinity", &[high]), allow);
        }
    }
    // A pointer with a zero half is a pointer, where there are two halves.
    for (address, wide, narrow) in [
        (0, allow, allow),
        (1, notify, notify),
        (1 << 32, notify, allow),
        (GARBAGE, notify, allow),
        (1 << 63, notify, allow),
        (0x8000_0000, notify, notify),
    ] {
        let args = [3, 0x1000, 1, 0, address, 16];
        assert_eq!(answer(&NETWORK, Abi::X86_64, "sendto", &args), wide, "{address:x}");
        assert_eq!(answer(&NETWORK, Abi::I386, "sendto", &args), narrow, "{address:x}");
    }
    let pretend = Verdict::Errno(0).value();
    assert_eq!(answer(&NOTHING, Abi::X86_64, "prlimit64", &[0, 10, 1 << 32]), pretend);
    assert_eq!(answer(&NOTHING, Abi::X86_64, "prlimit64", &[7, 7, 1 << 32]), Verdict::Notify.value());
    assert_eq!(answer(&NOTHING, Abi::X86_64, "prlimit64", &[7, 10, 1 << 32]), Verdict::Notify.value());
    assert_eq!(answer(&NOTHING, Abi::X86_64, "prlimit64", &[7, 7, 0, 1]), allow);
    assert_eq!(answer(&NOTHING, Abi::X86_64, "prctl", &[4, 0]), pretend);
    assert_eq!(answer(&NOTHING, Abi::X86_64, "prctl", &[4, 1 << 32]), allow, "the kernel says EINVAL");
}

#[test]
fn g5_descriptors_are_ints() {
    let notify = Verdict::Notify.value();
    for at_fdcwd in [0xffff_ff9c, 0xffff_ffff_ffff_ff9c, 0x7f_ffff_ff9c] {
        for abi in Abi::ALL {
            assert_eq!(answer(&MAGIC, abi, "statx", &[at_fdcwd, 1, GARBAGE]), notify);
        }
        assert_eq!(answer(&MAGIC, Abi::X86_64, "newfstatat", &[at_fdcwd, 1, 1, 0]), notify);
        assert_eq!(answer(&MAGIC, Abi::I386, "fstatat64", &[at_fdcwd, 1, 1, 0x800]), notify);
        for flags in [0x100, 0x1000, 0x1100, GARBAGE | 0x100] {
            let args = [at_fdcwd, 1, 1, flags];
            assert_eq!(answer(&EVERYTHING, Abi::X86_64, "newfstatat", &args), Verdict::Allow.value());
        }
    }
    assert_eq!(answer(&EVERYTHING, Abi::X86_64, "newfstatat", &[3, 1, 1, 0]), Verdict::Allow.value());
}

#[test]
fn g6_refusals_come_first() {
    // A call that is refused cannot be handed over by another rule: each number has one row (see the tests of
    // the table), and what has no rules is refused in every shape, whatever the registers hold.
    for shape in shapes() {
        for abi in Abi::ALL {
            for (nr, row) in numbers(abi).iter().enumerate() {
                let Some(row) = row else { continue };
                if let (true, Action::Refuse(errno, _)) = (row.rules.is_empty(), row.otherwise) {
                    let got = run(&program_of(&shape), abi.audit(), nr as u32, &[u64::MAX; 6]);
                    assert_eq!(got, Verdict::Errno(errno as i32).value(), "{}", row.name);
                }
            }
        }
    }
}

/// [`program`], remembered.
fn program_of(shape: &Shape) -> std::sync::Arc<Vec<sock_filter>> {
    use std::collections::HashMap;
    use std::sync::{Arc, LazyLock, Mutex};
    static PROGRAMS: LazyLock<Mutex<HashMap<Shape, Arc<Vec<sock_filter>>>>> = LazyLock::new(Mutex::default);
    let mut programs = PROGRAMS.lock().expect("no panic while it is held");
    programs.entry(*shape).or_insert_with(|| Arc::new(program(shape))).clone()
}

#[test]
fn g7_the_kernel_takes_it() {
    for shape in shapes() {
        let program = program(&shape);
        assert!(program.len() < 2048, "{}", program.len());
    }
}

#[test]
fn constant_answers_are_constant_for_the_kernel() {
    for shape in shapes() {
        let program = program(&shape);
        for abi in Abi::ALL {
            for nr in 0..NUMBERS as i32 {
                let constant = lookup(abi.audit(), nr).is_none_or(|row| row.rules.is_empty());
                if constant {
                    assert!(is_constant(&program, abi.audit(), nr as u32), "{abi:?} {nr}");
                }
            }
        }
    }
    // Nothing of a class that is off is left in the way.
    let program = program(&NETWORK);
    for nr in [0, 2, 4, 21, 59, 257, 262, 332] {
        assert!(is_constant(&program, Abi::X86_64.audit(), nr), "{nr}");
    }
}

#[test]
fn without_these_no_thread_goes_on() {
    for shape in shapes() {
        for abi in Abi::ALL {
            for name in
                ["restart_syscall", "rt_sigreturn", "exit", "exit_group", "futex", "munmap", "close", "read"]
            {
                let nr = numbers(abi).iter().position(|row| row.is_some_and(|row| row.name == name));
                let got = run(&program_of(&shape), abi.audit(), nr.expect(name) as u32, &[u64::MAX; 6]);
                assert_eq!(got, Verdict::Allow.value(), "{name}");
            }
        }
        let sigreturn = run(&program_of(&shape), Abi::I386.audit(), 119, &[0; 6]);
        assert_eq!(sigreturn, Verdict::Allow.value());
    }
}

/// `cargo test --release gate::simulate::cost -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn cost() {
    let start = std::time::Instant::now();
    for abi in Abi::ALL {
        numbers(abi);
    }
    println!("numbers, once: {:?}", start.elapsed());
    for shape in [EVERYTHING, Shape { read: false, exec: false, ..EVERYTHING }, WRITE, NETWORK, NOTHING] {
        let start = std::time::Instant::now();
        let length = program(&shape).len();
        println!("{:?}, {length} instructions: {shape:?}", start.elapsed());
    }
}
