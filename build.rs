//! Writes down the numbers of the system calls, for `src/gate/abi.rs`: libseccomp knows them, and is not needed afterwards.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::path::Path;

use libseccomp::{ScmpArch, ScmpSyscall};

/// The ABIs in the order of `Abi::ALL`.
const ABIS: [ScmpArch; 2] = [ScmpArch::X8664, ScmpArch::X86];
/// `NUMBERS` of `src/gate/abi.rs`.
const NUMBERS: i32 = 512;

/// The names are asked for by number and not the other way round, because libseccomp answers the latter
/// with made-up negative numbers for what 32-bit x86 also has in `socketcall` and `ipc`.
fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let mut table: BTreeMap<String, [Option<i32>; ABIS.len()]> = BTreeMap::new();
    for (column, abi) in ABIS.into_iter().enumerate() {
        for number in 0..NUMBERS {
            if let Ok(name) = ScmpSyscall::from_raw_syscall(number).get_name_by_arch(abi) {
                table.entry(name).or_default()[column] = Some(number);
            }
        }
    }
    let rows: String = table.iter().map(|(name, numbers)| format!("({name:?}, {numbers:?}),\n")).collect();
    let out = std::env::var_os("OUT_DIR").expect("cargo says where");
    let text = format!("// The calls that libseccomp knows, sorted by name.\n&[\n{rows}]\n");
    std::fs::write(Path::new(&out).join("numbers.rs"), text).expect("the directory is for that");
}
