//! Stored filters of a buffer: upload, describe, list, remove.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde_json::Value;

use crate::catalog::Collection;
use crate::client::{Call, CallError, Client, percent_encode};

impl Client {
    /// Stores a filter of these tags, one a line, or replaces it. Answers what the server says
    /// about it: `name`, `tags`, `bytes`, `sha256`.
    pub async fn put_filter(
        &self,
        buffer: &str,
        filter: &str,
        lines: Bytes,
    ) -> Result<Value, CallError> {
        let path = self.filter_path(buffer, filter);
        let mut call = Call::new(Method::PUT, path).header("content-type", "text/plain")?;
        // The reply comes when every tag has its number: at a slow megabyte a second.
        call.wait = Duration::from_secs(lines.len() as u64 >> 20);
        call.body = lines;
        self.finish_json(call).await
    }

    /// What the server says about a filter.
    pub async fn describe_filter(&self, buffer: &str, filter: &str) -> Result<Value, CallError> {
        let path = self.filter_path(buffer, filter);
        self.finish_json(Call::new(Method::GET, path)).await
    }

    /// One page of a buffer's filters, starting behind the name `after`; an empty `after` starts
    /// the list.
    pub async fn list_filters_page(&self, buffer: &str, after: &str) -> Result<Value, CallError> {
        let query = if after.is_empty() {
            String::new()
        } else {
            format!("?after={}", percent_encode(after))
        };
        let path = self.path(Collection::Buffers, buffer, &format!("/filters{query}"));
        self.finish_json(Call::new(Method::GET, path)).await
    }

    /// Removes a filter.
    pub async fn delete_filter(&self, buffer: &str, filter: &str) -> Result<(), CallError> {
        let call = Call::new(Method::DELETE, self.filter_path(buffer, filter));
        self.finish(call).await.map(drop)
    }

    fn filter_path(&self, buffer: &str, filter: &str) -> String {
        let rest = format!("/filters/{}", percent_encode(filter));
        self.path(Collection::Buffers, buffer, &rest)
    }
}
