//! Random mixes of objects on tiny budgets, with the memory that they ask for but without the work: whatever the order
//! in which they get on, all of them end. A scheduler of its own takes any task that can go on, at random, and sees it when
//! none can.

use super::super::spare::Spare;
use super::super::{Admitted, Memory, Reserved, Seat};
use crate::memory::MessageRoom;
use crate::memory::need::Need;
use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use tokio::sync::{Semaphore, mpsc};

const MIXES: u64 = 10_000;
const MIB: u64 = 1 << 20;

/// Splitmix64.
#[derive(Clone)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// Mostly small parts of `limit`, sometimes more than all of it.
    fn part_of(&mut self, limit: u64) -> u64 {
        match self.below(10) {
            0 => limit + self.below(limit),
            1..=3 => self.below(limit),
            _ => self.below(limit / 8),
        }
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }

    async fn pause(&mut self) {
        for _ in 0..self.below(4) {
            tokio::task::yield_now().await;
        }
    }
}

/// Tasks that can go on.
#[derive(Default)]
struct Ready(Mutex<Vec<usize>>);

struct TaskWaker {
    task: usize,
    ready: Arc<Ready>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        let mut ready = self.ready.0.lock().unwrap();
        if !ready.contains(&self.task) {
            ready.push(self.task);
        }
    }
}

type Tasks<'a> = Vec<Pin<Box<dyn Future<Output = ()> + 'a>>>;

/// Runs all tasks in a random order; how many cannot go on.
fn run(random: &mut Random, tasks: Tasks<'_>) -> usize {
    let ready = Arc::new(Ready(Mutex::new((0..tasks.len()).collect())));
    let mut tasks: Vec<_> = tasks.into_iter().map(Some).collect();
    loop {
        let task = {
            let mut ready = ready.0.lock().unwrap();
            if ready.is_empty() {
                return tasks.iter().flatten().count();
            }
            let place = random.below(ready.len() as u64) as usize;
            ready.swap_remove(place)
        };
        let waker = Waker::from(Arc::new(TaskWaker { task, ready: Arc::clone(&ready) }));
        let Some(future) = &mut tasks[task] else { continue };
        if future.as_mut().poll(&mut Context::from_waker(&waker)) == Poll::Ready(()) {
            tasks[task] = None;
        }
    }
}

fn need(random: &mut Random, limit: u64) -> Need {
    Need {
        input_bytes: random.part_of(limit),
        decoding_bytes: random.part_of(limit) / 2,
        head_bytes: random.part_of(limit) / 4,
        message_bytes: random.below(8 * MIB),
    }
}

/// Messages of one step, larger than their pool now and then.
async fn send(random: &mut Random, admitted: &Admitted<'_>, client: &mpsc::Sender<MessageRoom>) {
    for _ in 0..random.below(4) {
        random.pause().await;
        let room = admitted.pool().room(random.below(10 * MIB)).await;
        client.send(room).await.expect("the client reads to the end");
    }
}

/// What the survey keeps of an object, if anything.
enum Kept {
    Bytes(Reserved),
    Head(Spare<u64>),
}

/// A part of the survey: the object's bytes may be kept, or else its head.
async fn look(random: &mut Random, memory: &Memory, seat: &mut Seat) -> Option<Kept> {
    let bytes = random.below(8 * MIB);
    let reserved = if random.one_in(2) { memory.try_reserve(bytes).await } else { None };
    random.pause().await;
    let head_bytes = random.part_of(seat.most_head_bytes());
    if let Ok(mut room) = seat.head_room(head_bytes).await {
        random.pause().await;
        room.shrink_to(head_bytes / 2);
        random.pause().await;
        if reserved.is_none() {
            return memory.try_spare(bytes, bytes).map(Kept::Head);
        }
    }
    reserved.map(Kept::Bytes)
}

/// An object that is read in steps (one, for a small one) that may turn out larger than foreseen, and be replaced.
async fn object(
    random: &mut Random,
    memory: &Memory,
    seat: &mut Seat,
    client: &mpsc::Sender<MessageRoom>,
    mut head: Option<Spare<u64>>,
) {
    let limit = memory.limit_bytes();
    let mut need = need(random, limit);
    let mut steps = 1 + random.below(5);
    while steps > 0 {
        if random.one_in(10) {
            // Replaced: its footer is read again, with nothing in hand.
            if let Ok(_room) = seat.head_room(random.below(seat.most_head_bytes())).await {
                random.pause().await;
            }
        }
        let mut base = seat.admit(need).await;
        head.take().and_then(Spare::take);
        let mut ahead: Option<Admitted<'static>> = None;
        while steps > 0 {
            random.pause().await;
            let mut real = need;
            if random.one_in(5) {
                real.decoding_bytes += random.part_of(limit);
            }
            let grown = if let Some(mut step) = ahead.take() {
                // What comes next is fetched into what was admitted first, which is free meanwhile.
                let grown = step.try_grow(real);
                if grown {
                    send(random, &step, client).await;
                }
                grown || base.try_grow(real)
            } else {
                let grown = base.try_grow(real);
                if grown {
                    if random.one_in(2) {
                        ahead = memory.try_admit(need).await;
                    }
                    send(random, &base, client).await;
                    base.refill().await;
                }
                grown
            };
            if !grown {
                need = real;
                break;
            }
            steps -= 1;
        }
    }
}

/// How many of a random mix's tasks wait for ever.
fn mix(seed: u64) -> usize {
    let mut random = Random(seed);
    let memory = Memory::new(MIB * (1 + random.below(100)));
    let places = Semaphore::new(1 + random.below(8) as usize);
    let objects = random.below(16);
    let kept = Rc::new(RefCell::new(Vec::new()));
    let (memory, places) = (&memory, &places);

    let mut looks: Tasks<'_> = Vec::new();
    for _ in 0..objects {
        let (mut random, kept) = (Random(random.next()), Rc::clone(&kept));
        looks.push(Box::pin(async move {
            let _place = places.acquire().await.unwrap();
            let found = look(&mut random, memory, &mut memory.seat()).await;
            kept.borrow_mut().extend(found);
        }));
    }
    let stuck = run(&mut random, looks);
    if stuck > 0 {
        return stuck;
    }

    let (client, mut messages) = mpsc::channel::<MessageRoom>(1 + random.below(8) as usize);
    let mut reader = random.clone();
    let mut sends: Tasks<'_> = vec![Box::pin(async move {
        while let Some(grant) = messages.recv().await {
            reader.pause().await;
            drop(grant);
        }
    })];
    let (kept, heads): (Vec<Kept>, Vec<Kept>) =
        kept.take().into_iter().partition(|kept| matches!(kept, Kept::Bytes(_)));
    let others = objects - (kept.len() + heads.len()) as u64;
    let mut others: Vec<Option<Kept>> = heads.into_iter().map(Some).chain((0..others).map(|_| None)).collect();
    random.shuffle(&mut others);
    // Objects begin in this order: each waits for a place that the one before leaves to it.
    let turn = Rc::new(RefCell::new(kept.into_iter().map(Some).chain(others).rev().collect::<Vec<_>>()));
    for _ in 0..objects {
        let (mut random, client, turn) = (Random(random.next()), client.clone(), Rc::clone(&turn));
        sends.push(Box::pin(async move {
            let _place = places.acquire().await.unwrap();
            let kept = turn.borrow_mut().pop().unwrap();
            let mut seat = memory.seat();
            match kept {
                Some(Kept::Bytes(reserved)) => {
                    let need = need(&mut random, memory.unreserved_bytes() / 4);
                    let admitted = seat.admit_kept(Need { input_bytes: 0, ..need }, reserved).await;
                    random.pause().await;
                    send(&mut random, &admitted, &client).await;
                }
                Some(Kept::Head(head)) => object(&mut random, memory, &mut seat, &client, Some(head)).await,
                None => object(&mut random, memory, &mut seat, &client, None).await,
            }
        }));
    }
    drop(client);
    let stuck = run(&mut random, sends);
    if stuck == 0 {
        assert_eq!(memory.units.available_permits(), memory.total_units as usize, "all is given back");
    }
    stuck
}

#[test]
fn every_mix_of_objects_ends() {
    for seed in 0..MIXES {
        assert_eq!(mix(seed), 0, "tasks of mix {seed} that wait for ever");
    }
}

#[test]
fn who_breaks_the_rule_waits_for_ever_and_the_model_sees_it() {
    let memory = &Memory::new(MIB);
    let half = Need { decoding_bytes: MIB / 2, ..Need::default() };
    let hold_and_wait = || -> Pin<Box<dyn Future<Output = ()> + '_>> {
        Box::pin(async move {
            let (mut seat, mut other) = (memory.seat(), memory.seat());
            let _held = seat.admit(half).await;
            tokio::task::yield_now().await;
            let _more = other.admit(half).await;
        })
    };
    let stuck = (0..100).filter(|seed| run(&mut Random(*seed), vec![hold_and_wait(), hold_and_wait()]) > 0).count();
    assert!(stuck > 0);
}
