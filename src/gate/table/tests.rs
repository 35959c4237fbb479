//! Nothing is forgotten, nothing is there twice.
#![forbid(unsafe_code)]

use std::collections::HashMap;

use libseccomp::ScmpSyscall;

use super::super::abi::{Abi, numbers};
use super::super::row::{Action, Class, Number, Op, Row};
use super::rows;

/// Linux 6.18 ends here.
const LAST: i32 = 469;

fn known(abi: Abi, nr: i32) -> Option<String> {
    ScmpSyscall::from_raw_syscall(nr).get_name_by_arch(abi.scmp()).ok()
}

fn actions(row: &Row) -> impl Iterator<Item = Action> {
    row.rules.iter().map(|rule| rule.action).chain([row.otherwise])
}

#[test]
fn every_call_that_libseccomp_knows_is_there() {
    for abi in Abi::ALL {
        for nr in 0..=LAST {
            let Some(name) = known(abi, nr) else { continue };
            let row = numbers(abi)[nr as usize];
            assert_eq!(row.map(|row| row.name), Some(name.as_str()), "{abi:?} {nr}");
        }
    }
}

#[test]
fn every_number_up_to_the_last_is_there() {
    for (abi, holes) in [
        (Abi::X86_64, &[337..=423][..]),
        (Abi::I386, &[222..=223, 251..=251, 285..=285, 387..=392, 415..=415][..]),
    ] {
        for nr in 0..=LAST {
            let hole = holes.iter().any(|hole| hole.contains(&nr));
            assert_eq!(numbers(abi)[nr as usize].is_none(), hole, "{abi:?} {nr}");
        }
    }
}

#[test]
fn every_row_has_a_number() {
    for row in rows() {
        let same = |other: &&Row| (other.name, other.number) == (row.name, row.number);
        let found = Abi::ALL.iter().any(|&abi| numbers(abi).iter().flatten().any(same));
        assert!(found, "{} has no number", row.name);
    }
}

#[test]
fn no_call_is_there_twice() {
    for abi in Abi::ALL {
        let mut names = HashMap::new();
        let mut fixed = HashMap::new();
        for row in rows() {
            let number = match row.number {
                Number::Known => None,
                Number::Only(only) if only == abi => None,
                Number::Everywhere(number) => Some(number),
                Number::X86_64(number) if abi == Abi::X86_64 => Some(number),
                Number::Only(_) | Number::X86_64(_) => continue,
            };
            assert!(names.insert(row.name, row).is_none(), "{} is there twice", row.name);
            if let Some(number) = number {
                assert!(fixed.insert(number, row.name).is_none(), "{number} is there twice");
                assert!(number >= 451 || number == 335 || number == 336, "libseccomp knows {}", row.name);
            }
        }
    }
}

#[test]
fn what_is_handed_over_has_a_handler() {
    for row in rows() {
        let notifies = actions(row).any(|action| matches!(action, Action::Notify(_)));
        assert_eq!(notifies, row.call.is_some(), "{}", row.name);
    }
}

#[test]
fn refusals_have_reasons() {
    for row in rows() {
        for action in actions(row) {
            let (Action::Refuse(_, why) | Action::RefuseIn(_, _, why) | Action::Pretend(why)) = action else {
                continue;
            };
            assert!(
                !why.is_empty() && !why.ends_with('.') && !why.starts_with(char::is_uppercase),
                "{}",
                row.name
            );
        }
    }
}

#[test]
fn registers_are_registers() {
    for row in rows() {
        let conditions = row.rules.iter().flat_map(|rule| rule.when);
        for cond in conditions {
            use super::super::row::Cond::{Any, Low, NotNull, Null};
            let (Low { arg, .. } | Any { arg, .. } | Null { arg } | NotNull { arg }) = *cond;
            assert!(arg < 6, "{}", row.name);
            if let Low { mask, is, .. } = *cond {
                assert_eq!(is & !mask, 0, "{} has a condition that cannot hold", row.name);
            }
        }
        let Some(call) = row.call else { continue };
        let registers = [call.at.dirfd, call.at.path, call.to.dirfd, call.to.path, call.flags, call.value];
        let mut used: Vec<u8> = registers.into_iter().flatten().collect();
        assert!(used.iter().all(|&register| register < 6), "{}", row.name);
        used.sort_unstable();
        let distinct = used.windows(2).all(|pair| pair[0] != pair[1]);
        assert!(distinct, "{} uses a register for two things", row.name);
    }
}

#[test]
fn at_calls_have_directories() {
    for row in rows() {
        let Some(call) = row.call else { continue };
        let at = row.name.trim_end_matches(char::is_numeric).trim_end_matches("_time").ends_with("at")
            && !["stat", "lstat", "creat"].contains(&row.name.trim_end_matches(char::is_numeric));
        let takes_path = call.at.path.is_some() || call.to.path.is_some();
        if takes_path && row.name != "file_setattr" && row.name != "statx" {
            assert_eq!(at, call.at.dirfd.is_some() || call.to.dirfd.is_some(), "{}", row.name);
        }
        // The l-variants, and what is about links.
        let link =
            row.name.starts_with('l') && !row.name.starts_with("li") || row.name.starts_with("readlink");
        assert_eq!(call.nofollow, link, "{}", row.name);
    }
}

#[test]
fn ids_of_16_bits() {
    let op = |abi, name| {
        let row = numbers(abi).iter().flatten().find(|row| row.name == name);
        row.and_then(|row| row.call).map(|call| call.op)
    };
    for name in ["chown", "lchown", "fchown"] {
        assert_eq!(op(Abi::X86_64, name), Some(Op::Chown));
        assert_eq!(op(Abi::I386, name), Some(Op::Chown16));
    }
    for name in ["chown32", "lchown32", "fchown32"] {
        assert_eq!(op(Abi::X86_64, name), None);
        assert_eq!(op(Abi::I386, name), Some(Op::Chown));
    }
}

/// Who opens one of these has to be told what it costs; what gets round mediation cannot be opened at all.
#[test]
fn only_what_is_refused_can_be_opened() {
    for row in rows() {
        let Some(opening) = row.opening else { continue };
        assert!(row.rules.is_empty() && matches!(row.otherwise, Action::Refuse(..)), "{}", row.name);
        assert!(!opening.cost.is_empty() && !opening.cost.ends_with('.'), "{}", row.name);
    }
    for name in "io_uring_setup open_by_handle_at open_tree mount chroot setns clone3 userfaultfd init_module"
        .split(' ')
    {
        assert!(super::opened(name).is_none() && super::closed(name).is_some(), "{name}");
    }
    for name in ["ptrace", "process_vm_writev", "pidfd_getfd"] {
        assert!(super::opened(name).is_some_and(|(_, opening)| opening.needs_domain), "{name}");
    }
    assert_eq!(super::closed("no_such_call"), None);
}

/// The program that tries what is refused tries all of it.
#[test]
fn every_refusal_is_tried() {
    let program = include_str!("../../../tests/programs/refused.c");
    let refused =
        super::refused::ROWS.iter().chain(rows().filter(|row| ["setns", "clone3"].contains(&row.name)));
    for row in refused {
        assert!(program.contains(&format!("TRY({},", row.name)), "{}", row.name);
    }
}

/// The calls of threats that change the file system, which no later edit may lose.
#[test]
fn writers_are_mediated() {
    const WRITERS: &str = "open openat openat2 creat truncate truncate64 mkdir mkdirat mknod mknodat unlink unlinkat \
        rmdir rename renameat renameat2 link linkat symlink symlinkat chmod fchmodat fchmodat2 fchmod chown lchown \
        fchownat fchown chown32 lchown32 fchown32 utime utimes futimesat utimensat utimensat_time64 setxattr \
        lsetxattr removexattr lremovexattr fsetxattr fremovexattr setxattrat removexattrat file_setattr ioctl bind \
        access faccessat faccessat2";
    for name in WRITERS.split_whitespace() {
        let rows: Vec<_> = rows().filter(|row| row.name == name).collect();
        assert!(!rows.is_empty(), "{name}");
        for row in rows {
            let mediated = |action| {
                matches!(
                    action,
                    Action::Notify(Class::Write | Class::WriteOrRead | Class::Name | Class::Bind)
                )
            };
            assert!(actions(row).any(mediated), "{name}");
        }
    }
}

/// What no shape of a sandbox lets through.
#[test]
fn refused_calls_are_refused() {
    const REFUSED: &str = "io_uring_setup io_uring_enter io_uring_register ptrace process_vm_readv process_vm_writev \
        pidfd_getfd kcmp process_madvise userfaultfd name_to_handle_at open_by_handle_at mount umount umount2 \
        pivot_root move_mount fsopen fsconfig fsmount fspick open_tree mount_setattr open_tree_attr setns clone3 \
        chroot keyctl add_key request_key bpf perf_event_open lookup_dcookie kexec_load kexec_file_load init_module \
        finit_module delete_module create_module query_module get_kernel_syms reboot swapon swapoff acct quotactl \
        quotactl_fd vhangup syslog nfsservctl iopl ioperm vm86 vm86old uselib settimeofday clock_settime \
        clock_settime64 stime sethostname setdomainname lsm_set_self_attr memfd_secret landlock_create_ruleset \
        afs_syscall security tuxcall vserver getpmsg putpmsg _sysctl bdflush idle";
    for name in REFUSED.split_whitespace() {
        let row = rows().find(|row| row.name == name).expect(name);
        assert!(row.rules.is_empty() && matches!(row.otherwise, Action::Refuse(..)), "{name}");
    }
}
