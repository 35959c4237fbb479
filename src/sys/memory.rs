//! Memory of the caller: process_vm_readv(2), process_vm_writev(2), and `/proc/PID/mem` where those are refused.
#![allow(unsafe_code)]

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::{Errno, Pid, Result, check};

/// How the memory of callers is reached; found out once at start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// By process_vm_readv and process_vm_writev.
    ProcessVm,
    /// Through `/proc/PID/mem` (Podman's default filter refuses the former).
    ProcMem,
}

impl Access {
    /// Tries process_vm_readv on ourselves: a filter refuses it there as well.
    pub(crate) fn detect() -> Self {
        let source = 7_u8;
        let mut copy = [0_u8];
        let Some(this) = Pid::new(std::process::id() as i32) else { return Self::ProcMem };
        match process_vm_readv(this, std::ptr::from_ref(&source) as u64, &mut copy) {
            Ok(1) => Self::ProcessVm,
            _ => Self::ProcMem,
        }
    }

    /// Reads up to `buf.len()` bytes at `addr`; a shorter count where what follows is not mapped.
    pub(crate) fn read(self, pid: Pid, addr: u64, buf: &mut [u8]) -> Result<usize> {
        match self {
            Self::ProcessVm => process_vm_readv(pid, addr, buf),
            Self::ProcMem => mem(pid, false)?.read_at(buf, addr).map_err(fault),
        }
    }

    /// Writes `bytes` at `addr`, all or an error.
    pub(crate) fn write(self, pid: Pid, addr: u64, bytes: &[u8]) -> Result<()> {
        let written = match self {
            Self::ProcessVm => process_vm_writev(pid, addr, bytes)?,
            Self::ProcMem => mem(pid, true)?.write_at(bytes, addr).map_err(fault)?,
        };
        if written == bytes.len() { Ok(()) } else { Err(Errno::EFAULT) }
    }
}

fn mem(pid: Pid, write: bool) -> Result<File> {
    File::options().read(true).write(write).open(format!("/proc/{pid}/mem")).map_err(fault)
}

/// What `/proc/PID/mem` calls EIO is EFAULT to a system call.
fn fault(error: std::io::Error) -> Errno {
    match error.raw_os_error() {
        None | Some(libc::EIO) => Errno::EFAULT,
        Some(raw) => Errno::from_raw(raw),
    }
}

fn process_vm_readv(pid: Pid, addr: u64, buf: &mut [u8]) -> Result<usize> {
    let local = libc::iovec { iov_base: buf.as_mut_ptr().cast(), iov_len: buf.len() };
    let remote = libc::iovec { iov_base: addr as *mut libc::c_void, iov_len: buf.len() };
    // SAFETY: the kernel writes at most `buf.len()` bytes into `buf`; the remote address is only looked up
    // in the other process.
    let n = unsafe { libc::process_vm_readv(pid.raw(), &raw const local, 1, &raw const remote, 1, 0) };
    Ok(check(n as _)? as usize)
}

fn process_vm_writev(pid: Pid, addr: u64, bytes: &[u8]) -> Result<usize> {
    let local = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let remote = libc::iovec { iov_base: addr as *mut libc::c_void, iov_len: bytes.len() };
    // SAFETY: the kernel reads `bytes.len()` bytes from `bytes`; the remote address is only looked up in the
    // other process.
    let n = unsafe { libc::process_vm_writev(pid.raw(), &raw const local, 1, &raw const remote, 1, 0) };
    Ok(check(n as _)? as usize)
}
