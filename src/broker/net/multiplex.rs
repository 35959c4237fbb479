//! socketcall of 32-bit x86: every call on sockets by one number, with its arguments in memory.
//!
//! The arguments are read once and put where the direct call has its registers. From then on it is the direct call,
//! judged by the row of that. What the filter would have let pass is made here: the kernel would read the
//! arguments again, and they may have changed.
#![forbid(unsafe_code)]

use super::super::cx::{Answer, Cx};
use super::option;
use crate::gate::{self, AUDIT_ARCH_I386, Action};
use crate::sys::{Errno, net};
use crate::tracee::Result;

/// By the number of the sub-call, from 1 on: the number of the direct call, and how many arguments there are. `None`:
/// the filter lets it pass.
const DIRECT: [Option<(i32, usize)>; 20] = [
    Some((359, 3)), // socket
    Some((361, 3)), // bind
    Some((362, 3)), // connect
    Some((363, 2)), // listen
    None,           // accept
    None,           // getsockname
    None,           // getpeername
    None,           // socketpair
    None,           // send
    None,           // recv
    Some((369, 6)), // sendto
    None,           // recvfrom
    None,           // shutdown
    Some((SETSOCKOPT, 5)),
    Some((GETSOCKOPT, 5)),
    Some((370, 3)), // sendmsg
    None,           // recvmsg
    None,           // accept4
    None,           // recvmmsg
    Some((345, 4)), // sendmmsg
];
const GETSOCKOPT: i32 = 365;
const SETSOCKOPT: i32 = 366;

/// socketcall(2).
pub(in super::super) fn socketcall(cx: &mut Cx<'_>) -> Result<Answer> {
    let number = usize::try_from(cx.caller.int(0)).ok().and_then(|number| number.checked_sub(1));
    let (direct, count) = number.and_then(|number| *DIRECT.get(number)?).ok_or(Errno::EINVAL)?;
    let row = gate::lookup(AUDIT_ARCH_I386, direct).ok_or(Errno::ENOSYS)?;
    let mut words = [0; 6 * 4];
    let words = &mut words[..count * 4];
    cx.caller.read(cx.value(0)?, words)?;
    let mut args = [0; 6];
    for (arg, word) in args.iter_mut().zip(words.chunks_exact(4)) {
        *arg = u32::from_ne_bytes(word.try_into().map_err(|_| Errno::EFAULT)?).into();
    }
    cx.caller.call.args = args;
    cx.row = row;
    match (row.action(&args), &row.call) {
        (Action::Refuse(errno, _) | Action::RefuseIn(_, errno, _), _) => Err(errno.into()),
        (Action::Allow | Action::Notify(_), _) if direct == SETSOCKOPT => option::set(cx),
        (Action::Allow, _) if direct == GETSOCKOPT => option::get(cx),
        (action, Some(call)) => {
            cx.call = call;
            match call.op {
                gate::Op::Socket => socket(cx, action),
                // Only where no address can be refused is the answer that the kernel may go on.
                op => super::super::perform(cx, op),
            }
        }
        (_, None) => Err(Errno::ENOSYS.into()),
    }
}

/// The socket that the direct call would have got from the kernel.
fn socket(cx: &mut Cx<'_>, action: Action) -> Result<Answer> {
    if action != Action::Allow {
        match super::socket(cx)? {
            Answer::Continue => {}
            answer => return Ok(answer),
        }
    }
    let [domain, kind, protocol] = [0, 1, 2].map(|register| cx.caller.int(register));
    cx.caller.check()?;
    let fd = cx.as_caller(|_| Ok(net::socket(domain, kind, protocol)?))?;
    Ok(Answer::Descriptor { fd, cloexec: kind & libc::SOCK_CLOEXEC != 0, made: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_direct_calls() {
        let names = DIRECT.iter().flatten().map(|(direct, _)| {
            gate::lookup(AUDIT_ARCH_I386, *direct).map(|row| row.name).unwrap_or_default()
        });
        let expected = "socket bind connect listen sendto setsockopt getsockopt sendmsg sendmmsg";
        assert_eq!(names.collect::<Vec<_>>(), expected.split(' ').collect::<Vec<_>>());
    }

    #[test]
    fn what_is_not_here_the_filter_lets_pass() {
        let row = gate::lookup(AUDIT_ARCH_I386, 102).unwrap();
        for (number, direct) in (1..).zip(DIRECT) {
            let passes = row.action(&[number, 0, 0, 0, 0, 0]) == Action::Allow;
            assert_eq!(passes, direct.is_none(), "{number}");
        }
    }
}
