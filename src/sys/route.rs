//! rtnetlink(7): where an address is.
#![forbid(unsafe_code)]

use std::net::IpAddr;
use std::os::fd::AsRawFd;

use nix::sys::socket::{MsgFlags, recv, send};

use super::{Errno, Result, net};

/// `struct nlmsghdr`, and where `rtm_type` is behind it.
const HEADER: usize = 16;
const KIND: usize = HEADER + 7;

/// Whether what is sent to the address by this interface comes to this machine: `RTM_GETROUTE`. Needs no privilege.
pub(crate) fn is_own(link: u32, addr: IpAddr) -> Result<bool> {
    let socket = net::socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE)?;
    send(socket.as_raw_fd(), &request(link, addr), MsgFlags::empty())?;
    let mut answer = [0; 1024];
    // The kernel answers before send(2) returns.
    let len = recv(socket.as_raw_fd(), &mut answer, MsgFlags::MSG_DONTWAIT)?;
    let answer = answer.get(..len).ok_or(Errno::EBADMSG)?;
    let kind = answer.get(4..6).and_then(|kind| kind.try_into().ok()).map(u16::from_ne_bytes);
    Ok(kind == Some(libc::RTM_NEWROUTE) && answer.get(KIND) == Some(&libc::RTN_LOCAL))
}

/// `struct rtmsg`, destination and interface.
fn request(link: u32, addr: IpAddr) -> Vec<u8> {
    let (family, bytes) = match addr {
        IpAddr::V4(addr) => (libc::AF_INET, addr.octets().to_vec()),
        IpAddr::V6(addr) => (libc::AF_INET6, addr.octets().to_vec()),
    };
    let mut body = vec![family as u8, bytes.len() as u8 * 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for (kind, value) in [(libc::RTA_DST, &bytes[..]), (libc::RTA_OIF, &link.to_ne_bytes())] {
        body.extend_from_slice(&(4 + value.len() as u16).to_ne_bytes());
        body.extend_from_slice(&kind.to_ne_bytes());
        body.extend_from_slice(value);
    }
    let mut request = ((HEADER + body.len()) as u32).to_ne_bytes().to_vec();
    request.extend_from_slice(&libc::RTM_GETROUTE.to_ne_bytes());
    request.extend_from_slice(&(libc::NLM_F_REQUEST as u16).to_ne_bytes());
    request.extend_from_slice(&[0; 8]);
    request.extend_from_slice(&body);
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_our_own_by_its_interface() {
        let own = |link, addr: &str| is_own(link, addr.parse().unwrap());
        assert_eq!(own(1, "127.0.0.1"), Ok(true));
        assert_eq!(own(1, "127.1.2.3"), Ok(true));
        assert_ne!(own(1, "192.0.2.1"), Ok(true));
        assert_ne!(own(u32::MAX >> 1, "127.0.0.1"), Ok(true), "there is no such interface");
    }
}
