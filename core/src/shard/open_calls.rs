//! Calls that hold no thread and hold up nobody: streams, subscriptions, answers that are waited
//! for. There may be thousands on a connection, so they are found by name.

use std::collections::HashMap;

use ahash::RandomState;
use fulmar_dialect::CallId;

use super::calls::Running;

/// Open calls of one connection, by their serials and by the session's names.
#[derive(Default)]
pub(crate) struct OpenCalls(Option<Box<Tables>>);

#[derive(Default)]
struct Tables {
    calls: HashMap<u32, (CallId, Running), RandomState>,
    serials: HashMap<CallId, u32, RandomState>,
}

impl OpenCalls {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub(crate) fn insert(&mut self, call: CallId, running: Running) {
        let tables = self.0.get_or_insert_default();
        tables.serials.insert(call, running.serial);
        tables.calls.insert(running.serial, (call, running));
    }

    pub(crate) fn get(&self, serial: u32) -> Option<&Running> {
        self.0.as_ref()?.calls.get(&serial).map(|(_, running)| running)
    }

    pub(crate) fn get_mut(&mut self, serial: u32) -> Option<&mut Running> {
        self.0.as_mut()?.calls.get_mut(&serial).map(|(_, running)| running)
    }

    pub(crate) fn named(&self, call: CallId) -> Option<&Running> {
        self.get(*self.0.as_ref()?.serials.get(&call)?)
    }

    pub(crate) fn remove_named(&mut self, call: CallId) -> Option<Running> {
        let serial = *self.0.as_ref()?.serials.get(&call)?;
        self.remove(serial)
    }

    pub(crate) fn remove(&mut self, serial: u32) -> Option<Running> {
        let tables = self.0.as_mut()?;
        let (call, running) = tables.calls.remove(&serial)?;
        tables.serials.remove(&call);
        if tables.calls.is_empty() {
            self.0 = None;
        } else if tables.calls.len() * 8 < tables.calls.capacity() {
            // What thousands took is not kept for a few.
            tables.calls.shrink_to(tables.calls.len() * 2);
            tables.serials.shrink_to(tables.serials.len() * 2);
        }
        Some(running)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Running> {
        let calls = self.0.iter().flat_map(|tables| tables.calls.values());
        calls.map(|(_, running)| running)
    }

    /// All of them, of which none is left.
    pub(crate) fn take(&mut self) -> Vec<Running> {
        let calls = self.0.take().map(|tables| tables.calls).unwrap_or_default();
        calls.into_values().map(|(_, running)| running).collect()
    }
}
