//! Delegations, tasks and approvals as stored things: listed in pages by id, and returned by the write that changed
//! them.

use std::sync::Arc;

use crate::control::error::ControlError;
use crate::control::live_view::{ApprovalView, DelegationView, LiveView, TaskView};
use crate::control::page::{ListPage, PageRequest};
use crate::control::write::{Control, WriteReceipt};
use crate::domain::authority::approval::Approval;
use crate::domain::authority::delegation::Delegation;
use crate::domain::authority::indexed::{HasParts, Indexed, Part};
use crate::domain::authority::state::Authority;
use crate::domain::authority::task::Task;
use crate::service::ledger::CommittedChange;

/// One kind of stored thing.
pub(super) trait StoredKind: HasParts + Sized {
    /// The thing with its status.
    type View;
    /// Its name in errors.
    const NAME: &'static str;

    /// All of this kind, by id and by part.
    fn all(authority: &Authority) -> &Indexed<Self>;

    /// The thing with its status in one generation, at one moment.
    fn view(live: &LiveView<'_>, stored: &Arc<Self>) -> Self::View;
}

impl StoredKind for Delegation {
    type View = DelegationView;
    const NAME: &'static str = "delegation";

    fn all(authority: &Authority) -> &Indexed<Self> {
        &authority.delegations
    }

    fn view(live: &LiveView<'_>, stored: &Arc<Self>) -> DelegationView {
        live.delegation(stored)
    }
}

impl StoredKind for Task {
    type View = TaskView;
    const NAME: &'static str = "task";

    fn all(authority: &Authority) -> &Indexed<Self> {
        &authority.tasks
    }

    fn view(live: &LiveView<'_>, stored: &Arc<Self>) -> TaskView {
        live.task(stored)
    }
}

impl StoredKind for Approval {
    type View = ApprovalView;
    const NAME: &'static str = "approval";

    fn all(authority: &Authority) -> &Indexed<Self> {
        &authority.approvals
    }

    fn view(live: &LiveView<'_>, stored: &Arc<Self>) -> ApprovalView {
        live.approval(stored)
    }
}

impl Control {
    /// One page of those that `keep` makes a view of; only the one with this id, if one is given. A part that all of them
    /// have is what they are looked up by.
    ///
    /// # Errors
    ///
    /// [`ControlError::NotReady`] before the first load, [`ControlError::Invalid`] for a page size beyond the limit.
    pub(super) fn list<T: StoredKind>(
        &self,
        id: Option<&T::Id>,
        part: Option<Part>,
        page: &PageRequest,
        keep: impl Fn(&LiveView<'_>, &Arc<T>) -> Option<T::View>,
    ) -> Result<ListPage<T::View>, ControlError> {
        let limits = self.limits();
        self.view(|view| {
            let all = T::all(&view.generation.authority);
            let revision = view.generation.snapshot.revision();
            match id {
                Some(id) => Ok(ListPage {
                    items: all
                        .get::<T::Id>(id)
                        .and_then(|it| keep(&view, it))
                        .into_iter()
                        .collect(),
                    next: None,
                    revision,
                }),
                None => page
                    .collect_indexed(all, part.as_ref(), &limits, revision, |it| keep(&view, it)),
            }
        })
    }

    /// What a write made or changed, as it stands now.
    ///
    /// # Errors
    ///
    /// [`ControlError::NotFound`] if the write was a repeated request and its result has been pruned since.
    pub(super) fn receipt<T: StoredKind>(
        &self,
        written: CommittedChange,
    ) -> Result<WriteReceipt<T::View>, ControlError> {
        let stored = T::all(&written.generation.authority).get(written.id.as_str());
        let stored = stored.ok_or_else(|| ControlError::not_found(T::NAME, &written.id))?;
        Ok(WriteReceipt {
            value: T::view(&self.view_of(&written.generation), stored),
            revision: written.revision,
            is_durable: written.is_durable,
            is_recorded: written.is_recorded,
        })
    }
}
