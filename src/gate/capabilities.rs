//! Capabilities that no build needs: the tree of a privileged supervisor does not have them.
#![forbid(unsafe_code)]

/// Numbers of `linux/capability.h`, and what each would open.
const DROPPED: &[(u32, &str)] = &[
    (9, "CAP_LINUX_IMMUTABLE: files that nobody can remove"),
    (12, "CAP_NET_ADMIN: interfaces, routes and packet filters"),
    (16, "CAP_SYS_MODULE: kernel modules"),
    (17, "CAP_SYS_RAWIO: ports, /dev/mem, raw disks"),
    (19, "CAP_SYS_PTRACE: processes outside"),
    (21, "CAP_SYS_ADMIN: mounts, namespaces and much else"),
    (22, "CAP_SYS_BOOT: reboot and kexec"),
    (24, "CAP_SYS_RESOURCE: limits that were set for the tree, among them that of core dumps"),
    (25, "CAP_SYS_TIME: the clock"),
    (29, "CAP_AUDIT_WRITE: lines in the audit log"),
    (30, "CAP_AUDIT_CONTROL: the rules of auditing"),
    (32, "CAP_MAC_OVERRIDE: mandatory access control"),
    (33, "CAP_MAC_ADMIN: its configuration"),
    (34, "CAP_SYSLOG: the kernel's log"),
    (37, "CAP_AUDIT_READ: the audit log"),
    (38, "CAP_PERFMON: what other processes do"),
    (39, "CAP_BPF: programs in the kernel"),
];

/// The mask of all of them.
pub(crate) fn dropped() -> u64 {
    DROPPED.iter().fold(0, |mask, (number, _)| mask | 1 << number)
}
