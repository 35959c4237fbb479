//! An ordered set of rules.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::sync::{Arc, OnceLock};

use super::globset::GlobSet;
use super::mode::Action;
use super::network::{AddressCarry, AddressIndex, AddressPattern};
use super::path::{PathIndex, PathPattern};

/// How many rules a list may have.
pub(super) const MAX_RULES: usize = 1 << 17;
/// How many bytes of patterns a list may have.
pub(super) const MAX_BYTES: usize = 1 << 24;
/// How many wildcards a list may have, apart from `/***` and `/**` at the end of an ordinary path.
pub(super) const MAX_WILDCARDS: usize = 2048;

/// Why a list could not be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RuleError {
    /// [`MAX_RULES`] reached.
    #[error("this list has {MAX_RULES} rules already, which is the most it can have")]
    TooMany,
    /// [`MAX_BYTES`] reached.
    #[error("the patterns of this list would be longer than {MAX_BYTES} bytes together")]
    TooLong,
    /// [`MAX_WILDCARDS`] reached.
    #[error("the patterns of this list would have more than {MAX_WILDCARDS} wildcards together")]
    TooWild,
    /// Nothing to remove.
    #[error("there is no such rule to remove")]
    Missing,
}

/// One rule of a list.
#[derive(Debug)]
pub(super) struct Rule<P> {
    pub(super) action: Action,
    pub(super) pattern: P,
    /// The rule as one would write it.
    pub(super) text: Arc<str>,
}

/// What a list needs to know of its patterns.
pub(super) trait Pattern: PartialEq {
    /// Finds the last one that matches.
    type Index;
    /// What an index leaves to its successor.
    type Carry: Clone;

    /// The normal spelling.
    fn text(&self) -> &[u8];
    /// How many wildcards it has.
    fn weight(&self) -> usize;
    /// The index of these rules.
    fn index(rules: &[Arc<Rule<Self>>], fold: bool, carry: Option<&Self::Carry>) -> Self::Index
    where
        Self: Sized;
    /// What this index leaves to its successor.
    fn carry(index: &Self::Index) -> Self::Carry;
}

impl Pattern for PathPattern {
    type Index = PathIndex;
    type Carry = Arc<GlobSet>;

    fn text(&self) -> &[u8] {
        self.text()
    }
    fn weight(&self) -> usize {
        self.weight()
    }
    fn index(rules: &[Arc<Rule<Self>>], fold: bool, carry: Option<&Self::Carry>) -> PathIndex {
        PathIndex::new((0..).zip(rules.iter().map(|rule| &rule.pattern)), fold, carry)
    }
    fn carry(index: &PathIndex) -> Self::Carry {
        index.globs().clone()
    }
}

impl Pattern for AddressPattern {
    type Index = AddressIndex;
    type Carry = AddressCarry;

    fn text(&self) -> &[u8] {
        self.text()
    }
    fn weight(&self) -> usize {
        self.weight()
    }
    fn index(rules: &[Arc<Rule<Self>>], fold: bool, carry: Option<&Self::Carry>) -> AddressIndex {
        AddressIndex::new((0..).zip(rules.iter().map(|rule| &rule.pattern)), fold, carry)
    }
    fn carry(index: &AddressIndex) -> Self::Carry {
        index.carry()
    }
}

/// Which rules there are, so that a long list need not be searched for one that is new.
#[derive(Clone, Default)]
struct Known {
    hasher: RandomState,
    /// By hash; how many rules have it.
    counts: HashMap<u64, u32>,
}

impl Known {
    fn hash(&self, action: Action, text: &[u8]) -> u64 {
        self.hasher.hash_one((action == Action::Allow, text))
    }
}

/// Rules in the order in which they count. Clones share everything.
pub(super) struct List<P: Pattern> {
    rules: Arc<Vec<Arc<Rule<P>>>>,
    known: Arc<Known>,
    bytes: usize,
    weight: usize,
    cache: Arc<Cache<P>>,
}

/// Indices made when they are first asked for, of the patterns as they are and in lower case.
struct Cache<P: Pattern> {
    indices: [OnceLock<P::Index>; 2],
    carry: [Option<P::Carry>; 2],
}

impl<P: Pattern> List<P> {
    /// Appends a rule; one that exists moves to the end.
    pub(super) fn append(
        &mut self,
        action: Action,
        pattern: P,
        text: impl FnOnce(&P) -> Arc<str>,
    ) -> Result<(), RuleError> {
        let bytes = self.bytes.saturating_add(pattern.text().len());
        let weight = self.weight.saturating_add(pattern.weight());
        let rule = match self.position(action, &pattern) {
            Some(at) if at + 1 == self.rules.len() => return Ok(()),
            Some(at) => Arc::make_mut(&mut self.rules).remove(at),
            None if self.rules.len() >= MAX_RULES => return Err(RuleError::TooMany),
            None if bytes > MAX_BYTES => return Err(RuleError::TooLong),
            None if weight > MAX_WILDCARDS => return Err(RuleError::TooWild),
            None => {
                (self.bytes, self.weight) = (bytes, weight);
                let hash = self.known.hash(action, pattern.text());
                *Arc::make_mut(&mut self.known).counts.entry(hash).or_default() += 1;
                let text = text(&pattern);
                Arc::new(Rule { action, pattern, text })
            }
        };
        Arc::make_mut(&mut self.rules).push(rule);
        self.changed();
        Ok(())
    }

    /// About how many bytes of memory the list takes once its index was made: compiled wildcards are large.
    pub(super) fn memory(&self) -> usize {
        self.rules.len() * 128 + self.bytes * 16 + self.weight * 1024
    }

    /// Removes a rule.
    pub(super) fn remove(&mut self, action: Action, pattern: &P) -> Result<(), RuleError> {
        let at = self.position(action, pattern).ok_or(RuleError::Missing)?;
        Arc::make_mut(&mut self.rules).remove(at);
        let hash = self.known.hash(action, pattern.text());
        let known = Arc::make_mut(&mut self.known);
        match known.counts.get_mut(&hash) {
            Some(count) if *count > 1 => *count -= 1,
            _ => _ = known.counts.remove(&hash),
        }
        self.bytes = self.bytes.saturating_sub(pattern.text().len());
        self.weight = self.weight.saturating_sub(pattern.weight());
        self.changed();
        Ok(())
    }

    /// The rules, oldest first.
    pub(super) fn rules(&self) -> &[Arc<Rule<P>>] {
        &self.rules
    }

    /// The rule at this position.
    pub(super) fn rule(&self, position: u32) -> Option<&Rule<P>> {
        self.rules.get(usize::try_from(position).ok()?).map(|rule| &**rule)
    }

    /// The index; `fold`: for names in lower case.
    pub(super) fn index(&self, fold: bool) -> &P::Index {
        let i = usize::from(fold);
        self.cache.indices[i].get_or_init(|| P::index(&self.rules, fold, self.cache.carry[i].as_ref()))
    }

    fn position(&self, action: Action, pattern: &P) -> Option<usize> {
        if !self.known.counts.contains_key(&self.known.hash(action, pattern.text())) {
            return None;
        }
        self.rules.iter().position(|rule| rule.action == action && rule.pattern == *pattern)
    }

    fn changed(&mut self) {
        let old = &self.cache;
        let carry = [0, 1].map(|i| old.indices[i].get().map(P::carry).or_else(|| old.carry[i].clone()));
        self.cache = Arc::new(Cache { indices: Default::default(), carry });
    }
}

impl<P: Pattern> Clone for List<P> {
    fn clone(&self) -> Self {
        Self {
            rules: self.rules.clone(),
            known: self.known.clone(),
            bytes: self.bytes,
            weight: self.weight,
            cache: self.cache.clone(),
        }
    }
}

impl<P: Pattern> Default for List<P> {
    fn default() -> Self {
        let cache = Arc::new(Cache { indices: Default::default(), carry: [None, None] });
        Self { rules: Arc::default(), known: Arc::default(), bytes: 0, weight: 0, cache }
    }
}

impl<P: Pattern> PartialEq for List<P> {
    fn eq(&self, other: &Self) -> bool {
        let same = |(ours, theirs): (&Arc<Rule<P>>, &Arc<Rule<P>>)| {
            Arc::ptr_eq(ours, theirs) || (ours.action == theirs.action && ours.pattern == theirs.pattern)
        };
        Arc::ptr_eq(&self.rules, &other.rules)
            || (self.rules.len() == other.rules.len() && self.rules.iter().zip(&*other.rules).all(same))
    }
}

impl<P: Pattern> fmt::Debug for List<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.rules.iter().map(|rule| &rule.text)).finish()
    }
}
