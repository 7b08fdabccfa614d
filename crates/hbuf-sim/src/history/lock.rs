//! A lock that hands out fencing tokens, and the thing that it guards.
//!
//! Each grant has a higher token than all before it. What the lock guards takes the tokens of its
//! callers and turns away those below the highest that it has seen: so a holder that was stopped
//! for long and goes on harms nobody. Where leases lapse, two clients may believe that they hold
//! the lock, and only the tokens tell them apart.

use std::fmt;

use super::linear::Model;

/// A lock that nobody holds yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lock {
    /// Whether a holder keeps it until it gives it back.
    pub leases: Leases,
}

/// Whether a lock comes free by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leases {
    /// Never: it is held until it is released.
    Kept,
    /// At any time, for no clock is part of the model.
    MayLapse,
}

/// What is asked of a lock, or of what it guards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LockCall {
    /// Give me the lock.
    Acquire,
    /// I hold it under this token and go on.
    Extend(u64),
    /// I give it back.
    Release(u64),
    /// Do something that the lock guards.
    Use(u64),
}

/// What a lock, or what it guards, answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LockAnswer {
    /// You hold it under this token.
    Granted(u64),
    /// Somebody else holds it.
    Held,
    /// You hold it for longer.
    Extended,
    /// You hold it no more.
    Released,
    /// You do not hold it under this token.
    NotHeld,
    /// It was done.
    Accepted,
    /// It was turned away: a later holder was here.
    Fenced,
}

/// What is known of a lock between two operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Holding {
    holder: Holder,
    /// Tokens through here were granted.
    granted: u64,
    /// The highest token that what it guards has seen.
    seen: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Holder {
    #[default]
    Nobody,
    /// Somebody whose grant was not answered: its token is above all that are known.
    Unknown,
    Token(u64),
}

impl Model for Lock {
    type State = Holding;
    type Call = LockCall;
    type Answer = LockAnswer;

    fn initial(&self) -> Holding {
        Holding::default()
    }

    fn step(
        &self,
        state: &Holding,
        call: &LockCall,
        answer: Option<&LockAnswer>,
    ) -> Option<Holding> {
        let lapses = self.leases == Leases::MayLapse;
        match *call {
            LockCall::Acquire => state.acquire(answer, lapses),
            LockCall::Extend(token) => match answer {
                None => Some(*state),
                Some(LockAnswer::Extended) => state.held_under(token),
                Some(LockAnswer::NotHeld) => state.not_held_under(token, lapses),
                Some(_) => None,
            },
            LockCall::Release(token) => match answer {
                None => Some(state.held_under(token).map_or(*state, Holding::free)),
                Some(LockAnswer::Released) => state.held_under(token).map(Holding::free),
                Some(LockAnswer::NotHeld) => state.not_held_under(token, lapses),
                Some(_) => None,
            },
            LockCall::Use(token) => state.used(token, answer),
        }
    }

    /// Tokens only grow, those that are granted and those that were seen.
    fn never(&self, state: &Holding, call: &LockCall, answer: &LockAnswer) -> bool {
        match (call, answer) {
            (LockCall::Acquire, LockAnswer::Granted(token)) => *token <= state.granted,
            (LockCall::Use(token), LockAnswer::Accepted) => *token < state.seen,
            _ => false,
        }
    }
}

impl Holding {
    fn acquire(&self, answer: Option<&LockAnswer>, lapses: bool) -> Option<Self> {
        let free = lapses || self.holder == Holder::Nobody;
        let mut after = *self;
        match answer {
            None if free => after.holder = Holder::Unknown,
            None => {}
            Some(LockAnswer::Granted(token)) => {
                if !free || *token <= self.granted {
                    return None;
                }
                (after.holder, after.granted) = (Holder::Token(*token), *token);
            }
            Some(LockAnswer::Held) if self.holder != Holder::Nobody => {}
            Some(_) => return None,
        }
        Some(after)
    }

    /// This, given that the lock is held under that token.
    fn held_under(&self, token: u64) -> Option<Self> {
        let held = match self.holder {
            Holder::Nobody => false,
            Holder::Unknown => token > self.granted,
            Holder::Token(own) => own == token,
        };
        held.then_some(Self {
            holder: Holder::Token(token),
            granted: token.max(self.granted),
            ..*self
        })
    }

    /// This, given that the lock is not held under that token.
    fn not_held_under(&self, token: u64, lapses: bool) -> Option<Self> {
        match self.holder {
            Holder::Token(own) if own == token => lapses.then(|| self.free()),
            Holder::Nobody | Holder::Unknown | Holder::Token(_) => Some(*self),
        }
    }

    const fn free(self) -> Self {
        Self {
            holder: Holder::Nobody,
            ..self
        }
    }

    fn used(&self, token: u64, answer: Option<&LockAnswer>) -> Option<Self> {
        let passes = token >= self.seen;
        let after = Self {
            seen: token.max(self.seen),
            ..*self
        };
        match answer {
            None => Some(after),
            Some(LockAnswer::Accepted) => passes.then_some(after),
            Some(LockAnswer::Fenced) => (!passes).then_some(*self),
            Some(_) => None,
        }
    }
}

impl fmt::Display for Holding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (granted, seen) = (self.granted, self.seen);
        match self.holder {
            Holder::Nobody => f.write_str("free")?,
            Holder::Unknown => write!(f, "held under a token above {granted}")?,
            Holder::Token(token) => write!(f, "held under token {token}")?,
        }
        write!(f, ", tokens through {granted} granted, {seen} seen")
    }
}

impl fmt::Display for LockCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Acquire => f.write_str("acquire"),
            Self::Extend(token) => write!(f, "extend under token {token}"),
            Self::Release(token) => write!(f, "release of token {token}"),
            Self::Use(token) => write!(f, "use under token {token}"),
        }
    }
}

impl fmt::Display for LockAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Granted(token) => write!(f, "token {token}"),
            Self::Held => f.write_str("that it is held"),
            Self::Extended => f.write_str("more time"),
            Self::Released => f.write_str("that it is released"),
            Self::NotHeld => f.write_str("that it is not held so"),
            Self::Accepted => f.write_str("that it is done"),
            Self::Fenced => f.write_str("that a later holder was here"),
        }
    }
}
