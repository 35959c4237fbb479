//! The supervisor: receives the calls that the filter traps, decides, and performs them itself.
//!
//! Each call goes the same way: arguments are read once ([`cx`]), names are pinned ([`crate::resolve`]), the
//! policy is asked and a refusal reported ([`judge`]), and the call is made on what was pinned, with the caller's
//! identity and umask ([`worker`]). The broker knows system calls and pinned objects; it knows no syntax.
#![forbid(unsafe_code)]

mod access;
mod attr;
mod backstop;
mod bound;
mod crew;
mod cx;
mod entries;
mod exec;
mod grants;
mod identity;
mod judge;
mod look;
mod magic;
mod moves;
mod net;
mod open;
mod others;
mod outside;
mod signal;
mod states;
mod supervisor;
mod tree;
mod watch;
mod worker;

pub(crate) use backstop::{ruleset, scopes_signals};
pub(crate) use crew::{Crew, is_over};
pub(crate) use net::tell_without_duplicates;
pub(crate) use states::{Facts, States};
pub(crate) use supervisor::{Options, Starting, Supervisor};
pub(crate) use tree::processes;

use crate::gate::Op;
use crate::tracee::Result;
use cx::{Answer, Cx};

/// The function of each operation.
fn perform(cx: &mut Cx<'_>, op: Op) -> Result<Answer> {
    if !matches!(op, Op::Stat | Op::Stat64 | Op::Statx) {
        // Also where no rule decides: whoever runs what was not approved gets no further.
        cx.state()?;
    }
    match op {
        Op::Open => open::open(cx),
        Op::Creat => open::creat(cx),
        Op::Openat2 => open::openat2(cx),
        Op::Mkdir => entries::mkdir(cx),
        Op::Mknod => entries::mknod(cx),
        Op::Rmdir => entries::rmdir(cx),
        Op::Unlink => entries::unlink(cx),
        Op::Rename => entries::rename(cx),
        Op::Link => entries::link(cx),
        Op::Symlink => entries::symlink(cx),
        Op::Truncate => attr::truncate(cx),
        Op::Truncate64 => attr::truncate64(cx),
        Op::Chmod => attr::chmod(cx),
        Op::Chown => attr::chown(cx),
        Op::Chown16 => attr::chown16(cx),
        Op::Utime => attr::utime(cx),
        Op::Utimes => attr::utimes(cx),
        Op::Utimensat => attr::utimensat(cx),
        Op::UtimensatTime64 => attr::utimensat_time64(cx),
        Op::Setxattr => attr::setxattr(cx),
        Op::Setxattrat => attr::setxattrat(cx),
        Op::Removexattr => attr::removexattr(cx),
        Op::FileSetattr => attr::file_setattr(cx),
        Op::FsIoctl => attr::fs_ioctl(cx),
        Op::Access => access::access(cx),
        Op::Stat | Op::Stat64 | Op::Statx => magic::stat(cx, op),
        Op::Chdir => look::chdir(cx),
        Op::Readlink => look::readlink(cx),
        Op::Getxattr => look::getxattr(cx),
        Op::Getxattrat => look::getxattrat(cx),
        Op::Listxattr => look::listxattr(cx),
        Op::Exec => exec::exec(cx),
        Op::Bind => net::bind(cx),
        Op::Connect => net::connect(cx),
        Op::Listen => net::listen(cx),
        Op::Setsockopt => net::share(cx),
        Op::Sendto => net::sendto(cx),
        Op::Sendmsg => net::sendmsg(cx),
        Op::Sendmmsg => net::sendmmsg(cx),
        Op::Socket => net::socket(cx),
        Op::Socketcall => net::socketcall(cx),
        Op::Kill => signal::kill(cx),
        Op::Tkill => signal::tkill(cx),
        Op::Tgkill => signal::tgkill(cx),
        Op::PidfdSignal => signal::pidfd_send_signal(cx),
        Op::Adjust => others::adjust(cx),
        Op::Owner => others::own(cx),
        Op::Identity => identity::identity(cx),
        Op::Prctl => identity::prctl(cx),
        Op::Umask => identity::umask(cx),
    }
}
