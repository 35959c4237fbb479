//! Variables and `~` in a line of a profile.
#![forbid(unsafe_code)]

use super::Context;
use crate::magic::{self, SyntaxError};
use crate::policy::quote;

/// A line with everything replaced.
pub(super) struct Expanded {
    pub(super) text: Vec<u8>,
    /// For each byte the offset in the line that it comes from.
    origins: Vec<usize>,
    /// The length of the line.
    length: usize,
}

impl Expanded {
    /// An error in the expanded text as one in the line.
    pub(super) fn place(&self, error: SyntaxError) -> SyntaxError {
        let origin = self.origins.get(error.column.saturating_sub(1)).copied().unwrap_or(self.length);
        SyntaxError { column: origin.saturating_add(1), message: error.message }
    }

    fn push(&mut self, bytes: &[u8], origin: usize) {
        self.text.extend(bytes);
        self.origins.resize(self.text.len(), origin);
    }
}

/// Replaces `${NAME}`, `${NAME:-otherwise}`, and `~` where a path begins.
pub(super) fn expand(line: &[u8], context: &Context) -> Result<Expanded, SyntaxError> {
    let mut expanded =
        Expanded { text: Vec::with_capacity(line.len()), origins: Vec::new(), length: line.len() };
    let (argument, pattern) = magic::argument(line).unwrap_or((line.len(), false));
    let path = match line.get(argument..) {
        Some(rest) if rest.starts_with(b"unix://~") => argument + 7,
        Some(rest) if rest.starts_with(b"unix:~") => argument + 5,
        _ => argument,
    };
    let literal = |value: &[u8]| if pattern { quote(value) } else { value.to_vec() };
    let mut at = 0;
    while let Some(&byte) = line.get(at) {
        let rest = &line[at..];
        match rest {
            [b'\\', _, ..] if pattern && at >= argument => {
                expanded.push(&rest[..1], at);
                expanded.push(&rest[1..2], at + 1);
                at += 2;
            }
            [b'~'] | [b'~', b'/', ..] if at == path => {
                expanded.push(&literal(&value("HOME", at, context)?), at);
                at += 1;
            }
            [b'$', b'{', inner @ ..] => {
                let unclosed =
                    || SyntaxError { column: at + 1, message: "expected a `}` that closes this `${`".into() };
                let length = inner.iter().position(|byte| *byte == b'}').ok_or_else(unclosed)?;
                let inner = &inner[..length];
                let split = inner.windows(2).position(|pair| pair == b":-");
                let (name, otherwise) = match split {
                    Some(split) => (&inner[..split], Some(&inner[split + 2..])),
                    None => (inner, None),
                };
                let name =
                    std::str::from_utf8(name).ok().filter(|name| is_variable(name)).ok_or_else(|| {
                        SyntaxError { column: at + 3, message: "expected the name of a variable".into() }
                    })?;
                match (value(name, at, context), otherwise) {
                    (Ok(value), _) => expanded.push(&literal(&value), at),
                    (Err(_), Some(otherwise)) => expanded.push(otherwise, at),
                    (Err(error), None) => return Err(error),
                }
                at += 3 + length;
            }
            _ => {
                expanded.push(&[byte], at);
                at += 1;
            }
        }
    }
    Ok(expanded)
}

fn value(name: &str, at: usize, context: &Context) -> Result<Vec<u8>, SyntaxError> {
    context.get(name).ok_or_else(|| SyntaxError {
        column: at + 1,
        message: format!("expected the variable `{name}` to be set: `${{{name}:-otherwise}}` does without"),
    })
}

fn is_variable(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
