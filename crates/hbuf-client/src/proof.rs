//! The server's word about a buffer's tree: its size and root, and proofs.

use hbuf_core::ids::Hash;
use http::Method;
use serde::Deserialize;

use crate::catalog::Collection;
use crate::client::{Call, CallError, Client};

/// Size and root of a buffer's tree.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Checkpoint {
    /// Uuid of the log, named in every leaf.
    #[serde(default)]
    pub log: String,
    /// Messages that the tree covers: seqs 1 to `size`.
    pub size: u64,
    /// RFC 6962 root.
    #[serde(deserialize_with = "hex")]
    pub root: Hash,
}

/// That one message is in the tree.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct InclusionProof {
    /// The message.
    pub seq: u64,
    /// Size of the tree.
    pub size: u64,
    /// Hashes from the leaf's sibling upward.
    #[serde(deserialize_with = "hexes")]
    pub hashes: Vec<Hash>,
}

/// That a tree is the continuation of an earlier one.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ConsistencyProof {
    /// Size of the earlier tree.
    pub from: u64,
    /// Size of the later tree.
    pub to: u64,
    /// Hashes as in RFC 6962 §2.1.2.
    #[serde(deserialize_with = "hexes")]
    pub hashes: Vec<Hash>,
}

impl Client {
    /// Size and root of the buffer's tree, now.
    pub async fn checkpoint(&self, buffer: &str) -> Result<Checkpoint, CallError> {
        self.finish_json(self.proof_call(buffer, "/checkpoint")?)
            .await
    }

    /// A proof that message `seq` is in the tree of `size` messages.
    pub async fn prove_inclusion(
        &self,
        buffer: &str,
        seq: u64,
        size: u64,
    ) -> Result<InclusionProof, CallError> {
        let rest = format!("/proof/inclusion?seq={seq}&size={size}");
        self.finish_json(self.proof_call(buffer, &rest)?).await
    }

    /// A proof that the tree of `to` messages continues the tree of `from` messages.
    pub async fn prove_consistency(
        &self,
        buffer: &str,
        from: u64,
        to: u64,
    ) -> Result<ConsistencyProof, CallError> {
        let rest = format!("/proof/consistency?from={from}&to={to}");
        self.finish_json(self.proof_call(buffer, &rest)?).await
    }

    fn proof_call(&self, buffer: &str, rest: &str) -> Result<Call, CallError> {
        let target = self.path(Collection::Buffers, buffer, rest);
        Call::new(Method::GET, target).header("accept", "application/json")
    }
}

fn hex<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Hash, D::Error> {
    let text = String::deserialize(deserializer)?;
    Hash::parse_hex(text.as_bytes())
        .ok_or_else(|| serde::de::Error::custom("a hash is 64 lower-case hex digits"))
}

fn hexes<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<Hash>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    let parse = |text: &String| {
        Hash::parse_hex(text.as_bytes())
            .ok_or_else(|| serde::de::Error::custom("a hash is 64 lower-case hex digits"))
    };
    texts.iter().map(parse).collect()
}
