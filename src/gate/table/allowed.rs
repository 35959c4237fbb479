//! Calls that are no business of a sandbox: memory, descriptors that were opened through a mediated call,
//! time, waiting, and questions about oneself.
//!
//! The return from a signal handler, `restart_syscall`, the exits, `futex`, `munmap` and `close` must stay
//! here: a thread could not go on, or end, without them.
#![forbid(unsafe_code)]

use super::super::row::{Number, Row};

pub(super) static ROWS: &[Row] = &names!(Row::allow;
    // Reading and writing through a descriptor, which had to be opened first.
    read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 lseek _llseek
    sendfile sendfile64 splice tee vmsplice copy_file_range readahead fallocate
    fadvise64 fadvise64_64 flock sync syncfs fsync fdatasync sync_file_range
    getdents getdents64 readdir io_setup io_destroy io_submit io_cancel io_getevents
    io_pgetevents io_pgetevents_time64 ustat sysfs
    // Descriptors.
    close close_range dup dup2 dup3 pipe pipe2 eventfd eventfd2 memfd_create
    signalfd signalfd4 timerfd_create timerfd_settime timerfd_gettime timerfd_settime64 timerfd_gettime64
    inotify_init inotify_init1 inotify_rm_watch
    // Waiting for them.
    poll ppoll ppoll_time64 select _newselect pselect6 pselect6_time64
    epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2
    // Memory.
    munmap mremap mprotect brk msync mincore madvise remap_file_pages
    mlock mlock2 munlock mlockall munlockall pkey_mprotect pkey_alloc pkey_free
    mbind set_mempolicy get_mempolicy set_mempolicy_home_node membarrier
    // Threads.
    futex futex_time64 futex_waitv set_robust_list get_robust_list rseq
    set_tid_address set_thread_area get_thread_area arch_prctl modify_ldt
    // The life of a process.
    exit exit_group wait4 waitid waitpid restart_syscall pause nice
    getpid getppid gettid getpgid setpgid getpgrp getsid setsid
    getuid geteuid getgid getegid getresuid getresgid getgroups capget
    getuid32 geteuid32 getgid32 getegid32 getresuid32 getresgid32 getgroups32
    getrlimit ugetrlimit getrusage times getpriority ioprio_get getcpu
    sched_yield sched_getparam sched_getscheduler sched_getaffinity sched_getattr
    sched_get_priority_max sched_get_priority_min sched_rr_get_interval sched_rr_get_interval_time64
    // Its own signals.
    rt_sigaction rt_sigprocmask rt_sigpending rt_sigsuspend rt_sigreturn rt_sigtimedwait
    rt_sigtimedwait_time64 sigaltstack signal sigaction sigprocmask sigpending sigsuspend sigreturn
    sgetmask ssetmask alarm getitimer setitimer
    timer_create timer_settime timer_gettime timer_settime64 timer_gettime64 timer_getoverrun timer_delete
    // The time. adjtimex can only be told to change it in memory, and only by who has CAP_SYS_TIME.
    time gettimeofday nanosleep clock_gettime clock_gettime64 clock_getres clock_getres_time64
    clock_nanosleep clock_nanosleep_time64 adjtimex clock_adjtime clock_adjtime64
    // The system.
    uname olduname oldolduname sysinfo getrandom
    // Messages and shared memory, without a path that rules could name.
    shmget shmctl shmdt semget semop semctl semtimedop semtimedop_time64
    msgget msgsnd msgrcv msgctl mq_open mq_unlink mq_timedsend mq_timedreceive
    mq_timedsend_time64 mq_timedreceive_time64 mq_notify mq_getsetattr
    // Nothing comes of these without landlock_create_ruleset.
    landlock_add_rule landlock_restrict_self
);

/// Newer than libseccomp 2.5.
pub(super) static NEWER: &[Row] = &[
    // Only of use in the trampolines that the kernel puts into a traced function.
    Row::allow("uretprobe").number(Number::X86_64(335)),
    Row::allow("uprobe").number(Number::X86_64(336)),
    Row::allow("cachestat").number(Number::Everywhere(451)),
    Row::allow("map_shadow_stack").number(Number::Everywhere(453)),
    Row::allow("futex_wake").number(Number::Everywhere(454)),
    Row::allow("futex_wait").number(Number::Everywhere(455)),
    Row::allow("futex_requeue").number(Number::Everywhere(456)),
    // What is mounted, which /proc/self/mountinfo tells as well.
    Row::allow("statmount").number(Number::Everywhere(457)),
    Row::allow("listmount").number(Number::Everywhere(458)),
    Row::allow("lsm_get_self_attr").number(Number::Everywhere(459)),
    Row::allow("lsm_list_modules").number(Number::Everywhere(461)),
    Row::allow("mseal").number(Number::Everywhere(462)),
];
