//! The small closed sets of words that policy is made of.
#![forbid(unsafe_code)]

/// An enum whose members are words of the magic language.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$member_doc:meta])* $member:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(crate) enum $name { $($(#[$member_doc])* $member,)+ }

        #[allow(dead_code, reason = "not every set is read, or listed")]
        impl $name {
            /// The words, in order.
            pub(crate) const WORDS: &'static [&'static str] = &[$($word),+];

            /// How it is written.
            pub(crate) const fn word(self) -> &'static str {
                match self { $(Self::$member => $word,)+ }
            }

            /// What is written so.
            pub(crate) fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$member),)+ _ => None }
            }
        }
    };
}

words! {
    /// Mode of exec, read and write sandboxing.
    Mode {
        /// Nothing is refused.
        Off = "off",
        /// Permitted unless a deny rule matches.
        Allow = "allow",
        /// Refused unless an allow rule matches.
        Deny = "deny",
    }
}

words! {
    /// Mode of network sandboxing.
    NetMode {
        /// Nothing is refused.
        Off = "off",
        /// Permitted unless a deny rule matches.
        Allow = "allow",
        /// Refused unless an allow rule matches.
        Deny = "deny",
        /// Like deny, with loopback addresses and unix sockets allowed.
        Local = "local",
    }
}

words! {
    /// Whether the magic path answers. It only ever rises.
    Lock {
        /// Magic is open.
        Off = "off",
        /// The process becomes locked when it execs.
        Exec = "exec",
        /// Locked for good.
        On = "on",
    }
}

words! {
    /// What is done with a path.
    Access {
        /// Executing it.
        Exec = "exec",
        /// Reading it.
        Read = "read",
        /// Changing it, or its entry in its directory.
        Write = "write",
    }
}

words! {
    /// What is done with an address.
    NetOp {
        /// Taking it.
        Bind = "bind",
        /// Talking to it: connect, sendto, sendmsg, sendmmsg.
        Connect = "connect",
    }
}

words! {
    /// What a violation does beside being reported.
    OnViolation {
        /// The call is refused.
        Deny = "deny",
        /// The process is killed.
        Kill = "kill",
        /// The whole tree is killed.
        KillAll = "killall",
    }
}

words! {
    /// How a pattern without wildcards matches.
    NoWildcard {
        /// Itself.
        Literal = "literal",
        /// Itself and everything below.
        Prefix = "prefix",
    }
}

words! {
    /// Which way a rule decides.
    Action {
        /// An allow rule.
        Allow = "allowlist",
        /// A deny rule.
        Deny = "denylist",
    }
}
