//! Move tasks: messages of a dead-letter queue go back to where they came from, or to another queue, at a bounded pace.

use crate::Queues;
use crate::error::{Error, Result};
use crate::live::Live;
use crate::model::name::Named;
use crate::shelf::Settled;
use crate::stock::Stock;
use crate::store::{self, MoveTask, Space, Status};
use ::store::record::decode;
use base::Arn;
use std::sync::Arc;
use std::time::Duration;

/// Messages taken at once, and a pause after a failure of storage.
const STEP: usize = 10;
const PAUSE: Duration = Duration::from_secs(1);
/// Tasks of a queue that are remembered.
const TASKS_MAX: usize = 10;
/// Tasks read in one scan when they are taken up again.
const PAGE: usize = 100;

impl Queues {
    /// The tasks of a queue, the latest first.
    pub async fn tasks_of(&self, source: &Named, limit: usize) -> Result<Vec<MoveTask>> {
        let all = store::tasks(&source.scope, &source.name);
        let items = self.store.scan_back(all.as_bytes(), &all.end(), limit).await?;
        Ok(items.iter().map(|i| decode(&i.value)).collect::<Result<_, _>>()?)
    }

    /// Starts a task, unless one is running.
    pub async fn start_task(&self, task: MoveTask) -> Result<()> {
        let all = &store::tasks(&task.scope, &task.source);
        let key = &task_key(&task);
        let given = &task;
        self.store
            .transact(|tx| async move {
                let items = tx.scan_back(all.as_bytes(), &all.end(), TASKS_MAX).await?;
                let before = items.iter().map(|i| decode(&i.value)).collect::<Result<Vec<MoveTask>, _>>()?;
                if before.iter().any(|t| matches!(t.status, Status::Running | Status::Cancelling)) {
                    return Err(Error::Unsupported(
                        "There is already a task running. Only one active task is allowed for a source queue arn at a \
                         given time."
                            .into(),
                    ));
                }
                if let Some(oldest) = items.get(TASKS_MAX - 1) {
                    tx.delete_bytes(&oldest.key);
                }
                Ok(tx.put(key, given)?)
            })
            .await?;
        self.run_task(task);
        Ok(())
    }

    /// Asks a running task to stop; says how many it has moved.
    pub async fn cancel_task(&self, source: &Named, id: &str) -> Result<u64> {
        let found = self.tasks_of(source, TASKS_MAX).await?.into_iter().find(|t| t.id == id);
        let task = found.ok_or_else(|| Error::NotFound("Task does not exist.".into()))?;
        let key = &task_key(&task);
        self.store
            .transact(|tx| async move {
                let task: Option<MoveTask> = tx.get(key).await?;
                match task {
                    Some(mut task) if task.status == Status::Running => {
                        task.status = Status::Cancelling;
                        tx.put(key, &task)?;
                        Ok(task.moved)
                    }
                    Some(_) => Err(Error::Unsupported("Only active tasks can be cancelled.".into())),
                    None => Err(Error::NotFound("Task does not exist.".into())),
                }
            })
            .await
    }

    /// Takes up the tasks that were running when the node went down.
    pub async fn resume_tasks(&self) -> Result<()> {
        let all = store::all_tasks();
        let mut from = all.as_bytes().to_vec();
        loop {
            let items = self.store.scan(&from, &all.end(), PAGE).await?;
            for item in &items {
                let task: MoveTask = decode(&item.value)?;
                if matches!(task.status, Status::Running | Status::Cancelling) {
                    self.run_task(task);
                }
            }
            let Some(last) = items.last().filter(|_| items.len() == PAGE) else { return Ok(()) };
            from = [&last.key[..], &[0]].concat();
        }
    }

    fn run_task(&self, task: MoveTask) {
        if let Some(this) = self.this.upgrade() {
            self.running.spawn(async move {
                let stopping = this.stopping.clone();
                tokio::select! {
                    () = stopping.cancelled() => {}
                    () = this.keep_moving(task) => {}
                }
            });
        }
    }

    async fn keep_moving(&self, mut task: MoveTask) {
        loop {
            match self.step(&mut task).await {
                Ok(true) => {
                    if let Some(rate) = task.per_second {
                        self.clock.sleep(Duration::from_secs_f64(step_of(&task) as f64 / f64::from(rate))).await;
                    }
                }
                Ok(false) => return,
                Err(Error::Store(error)) => {
                    tracing::warn!(%error, queue = %task.source, "moving messages waits for storage");
                    self.clock.sleep(PAUSE).await;
                }
                Err(other) => {
                    task.status = Status::Failed;
                    task.failure = Some(other.code().to_owned());
                    if self.end(&task).await.is_ok() {
                        return;
                    }
                    self.clock.sleep(PAUSE).await;
                }
            }
        }
    }

    /// Moves a few. `false`: the task is over, and its record says so.
    async fn step(&self, task: &mut MoveTask) -> Result<bool> {
        let kept: Option<MoveTask> = self.store.get(&task_key(task)).await?;
        let Some(kept) = kept else { return Ok(false) };
        if kept.status == Status::Cancelling {
            task.status = Status::Cancelled;
            self.end(task).await?;
            return Ok(false);
        }
        let source = self.live(&Named { scope: task.scope.clone(), name: task.source.clone() }).await?;
        let stock = source.stock();
        stock.ready(&self.store).await?;
        let found = stock.shelf().take(self.now(), source.queue().late_delay_ms(), step_of(task));
        if found.taken.is_empty() {
            if let Some(fills) = found.fill {
                stock.fill(&self.store, &self.budget, fills).await?;
                return Ok(true);
            }
            task.status = Status::Completed;
            self.end(task).await?;
            return Ok(false);
        }
        let mut rest = found.taken.into_iter();
        while let Some(taken) = rest.next() {
            let moved = self.move_one(task, &stock, taken).await;
            if let Err(error) = moved {
                rest.for_each(|taken| stock.shelf().settle(taken, Settled::Returned));
                return Err(error);
            }
        }
        source.ring_later();
        Ok(true)
    }

    async fn move_one(&self, task: &mut MoveTask, stock: &Stock, taken: crate::shelf::Taken) -> Result<()> {
        let (message, target) = match self.bound_for(task, stock, &taken).await {
            Ok(Some(bound)) => bound,
            Ok(None) => {
                stock.shelf().settle(taken, Settled::Gone);
                return Ok(());
            }
            Err(error) => {
                stock.shelf().settle(taken, Settled::Returned);
                return Err(error);
            }
        };
        let counted = MoveTask { moved: task.moved + 1, ..task.clone() };
        self.send_back(stock, taken, message, &target, &counted).await?;
        *task = counted;
        Ok(())
    }

    /// A message and the queue it goes to; `None` if it is no longer there.
    async fn bound_for(
        &self,
        task: &MoveTask,
        stock: &Stock,
        taken: &crate::shelf::Taken,
    ) -> Result<Option<(crate::model::message::Message, Arc<Live>)>> {
        let Some(message) = self.read(stock, taken).await? else { return Ok(None) };
        let to = task.destination.clone().or_else(|| message.head.source.clone());
        let named = to.and_then(|arn| arn.parse::<Arn>().ok()).and_then(|arn| Named::of_arn(&arn));
        // A message that was sent here by hand came from nowhere.
        let named = named.ok_or_else(|| Error::Unsupported("CouldNotDetermineMessageSource".into()))?;
        Ok(Some((message, self.live(&named).await?)))
    }

    async fn end(&self, task: &MoveTask) -> Result<()> {
        let key = task_key(task);
        Ok(self.store.transact(async |tx| tx.put(&key, task)).await?)
    }
}

fn task_key(task: &MoveTask) -> ::store::Key {
    Space::Task(&task.scope, &task.source, task.started.millis(), &task.id).key()
}

fn step_of(task: &MoveTask) -> usize {
    task.per_second.map_or(STEP, |rate| STEP.min(rate as usize)).max(1)
}
