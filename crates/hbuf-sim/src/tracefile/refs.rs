//! By what events can be followed: the refs that a line names, and those that follow from its other
//! fields.
//!
//! | ref | events |
//! |---|---|
//! | `msg:b1/17` | of a buffer, with the seq among theirs; not those of its cursors log |
//! | `req:c1/4` | a client's fourth request, each try for itself |
//! | `pkt:n1>n2/17` | a packet: sent, arrived or lost |
//! | `epoch:b1/4` | of a buffer in an epoch |
//! | `buf:b1`, `node:n2` | of a buffer; on a node or of a client |
//! | `consumer:NAME` | of a consumer |

use serde_json::Value;

use super::Event;

/// How refs are written that no line names.
pub(super) const IMPLIED: &str = "msg:b1/17, epoch:b1/4, buf:b1, node:n2";

impl Event {
    /// Whether it can be followed by this.
    #[must_use]
    pub fn has_ref(&self, wanted: &str) -> bool {
        self.refs.iter().any(|it| it == wanted) || self.implies(wanted).unwrap_or(false)
    }

    fn implies(&self, wanted: &str) -> Option<bool> {
        let (what, name) = wanted.split_once(':')?;
        match what {
            "node" => return Some(self.node.as_deref() == Some(name)),
            "buf" => return Some(self.buffer.as_deref() == Some(name)),
            _ => {}
        }
        let (buffer, number) = name.rsplit_once('/')?;
        let number: u64 = number.parse().ok()?;
        let here = self.buffer.as_deref() == Some(buffer);
        Some(match what {
            "msg" => {
                let cursors = self.details.get("log").and_then(Value::as_str) == Some("cursors");
                let holds = |(first, last)| (first..=last).contains(&number);
                here && !cursors && self.seqs.is_some_and(holds)
            }
            "epoch" => here && self.epoch.map(u64::from) == Some(number),
            _ => false,
        })
    }

    /// From whom to whom a packet goes, and which one it is of those: `n1`, `n2`, 17.
    #[must_use]
    pub fn packet(&self) -> Option<(&str, &str, &str)> {
        let name = self.refs.iter().find_map(|it| it.strip_prefix("pkt:"))?;
        let (from, rest) = name.split_once('>')?;
        let (to, number) = rest.split_once('/')?;
        Some((from, to, number))
    }

    /// Whether it is of what goes on all the time between nodes, whatever clients do: nothing but
    /// packets that are about no buffer.
    pub(super) fn is_quiet(&self) -> bool {
        let packets = self.refs.iter().all(|it| it.starts_with("pkt:"));
        self.seqs.is_none() && packets && (self.refs.is_empty() || self.buffer.is_none())
    }

    /// Whether somebody asks for something with it.
    pub(super) fn asks(&self) -> bool {
        self.kind.ends_with(".asked")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_an_event_is_about_can_be_followed_without_being_named() {
        let mut event = Event {
            node: Some("n2".to_owned()),
            buffer: Some("b1".to_owned()),
            epoch: Some(4),
            seqs: Some((10, 20)),
            refs: vec!["pkt:n1>n2/7".to_owned()],
            ..Event::default()
        };
        for followed in [
            "msg:b1/10",
            "msg:b1/17",
            "msg:b1/20",
            "epoch:b1/4",
            "buf:b1",
            "node:n2",
        ] {
            assert!(event.has_ref(followed), "{followed}");
        }
        let others = [
            "msg:b1/9",
            "msg:b1/21",
            "msg:b2/17",
            "epoch:b1/3",
            "node:n1",
            "msg:b1",
            "x",
        ];
        for other in others {
            assert!(!event.has_ref(other), "{other}");
        }
        assert_eq!(event.packet(), Some(("n1", "n2", "7")));
        // The cursors log has seqs of its own.
        event.details.insert("log".to_owned(), json!("cursors"));
        assert!(!event.has_ref("msg:b1/17") && event.has_ref("pkt:n1>n2/7"));
    }
}
