//! What clusters of several nodes begin with: the first commands of a group, before anybody runs.

use hbuf_core::ids::{Micros, Uuid};
use hbuf_core::name::Name;
use hbuf_manager::{Command, State};

/// Who founds and registers before the run.
pub(crate) const FOUNDER: Uuid = Uuid([0xf0; 16]);

/// Gives a new group's state the next command of its founder.
pub(crate) fn give<S: State>(state: &mut S, action: S::Action) {
    let number = state.applied() + 1;
    let command = Command {
        client: FOUNDER,
        number,
        time: Micros(0),
        action,
    };
    let applied = state.apply(number, &command);
    applied.expect("a new cluster takes this");
}

/// The name of a node: n1, n2 and so on.
pub(crate) fn node_name(host: usize) -> Name {
    Name::parse(&format!("n{}", host + 1)).expect("a letter and digits are a name")
}
