use super::head_room::HeadTooLarge;
use super::*;
use std::time::Duration;
use tokio::time::timeout;

const KIB: u64 = 1024;
const SOON: Duration = Duration::from_millis(50);

/// A budget of `total_kib`, a part of it for messages.
fn need(total_kib: u64, message_kib: u64) -> Need {
    Need { decoding_bytes: (total_kib - message_kib) * KIB, message_bytes: message_kib * KIB, ..Need::default() }
}

#[tokio::test]
async fn a_need_larger_than_the_budget_waits_for_everything_and_is_admitted_alone() {
    let memory = Memory::new(100 * KIB);
    let (mut first, mut second, mut third) = (memory.seat(), memory.seat(), memory.seat());
    let small = first.admit(need(10, 1)).await;
    assert!(timeout(SOON, second.admit(need(500, 8))).await.is_err(), "something is held");
    drop(small);
    let alone = second.admit(need(500, 8)).await;
    assert!(alone.is_alone());
    assert!(timeout(SOON, third.admit(need(1, 0))).await.is_err(), "alone means alone");
    drop(alone);
    assert!(!third.admit(need(1, 0)).await.is_alone());
}

#[tokio::test]
async fn what_is_held_stays_held_while_messages_come_and_go() {
    let memory = Memory::new(100 * KIB);
    let (mut seat, mut other) = (memory.seat(), memory.seat());
    let admitted = seat.admit(need(80, 30)).await;
    for _ in 0..10 {
        drop(admitted.pool().room(30 * KIB).await);
    }
    assert!(timeout(SOON, other.admit(need(21, 1))).await.is_err(), "messages that were sent free nothing else");
    drop(admitted);
    drop(other.admit(need(70, 1)).await);
}

#[tokio::test]
async fn messages_hold_their_pool_after_the_object_is_done() {
    let memory = Memory::new(100 * KIB);
    let (mut seat, mut other) = (memory.seat(), memory.seat());
    let admitted = seat.admit(need(80, 30)).await;
    let message = admitted.pool().room(KIB).await;
    drop(admitted);
    assert!(timeout(SOON, other.admit(need(71, 1))).await.is_err());
    drop(message);
    drop(other.admit(need(100, 1)).await);
}

#[tokio::test]
async fn a_message_larger_than_the_pool_waits_for_the_earlier_ones() {
    let memory = Memory::new(100 * KIB);
    let mut seat = memory.seat();
    let admitted = seat.admit(need(80, 30)).await;
    let first = admitted.pool().room(KIB).await;
    assert!(timeout(SOON, admitted.pool().room(500 * KIB)).await.is_err());
    drop(first);
    drop(admitted.pool().room(500 * KIB).await);
}

#[tokio::test]
async fn the_smallest_share_still_has_a_pool() {
    let memory = Memory::new(100 * KIB);
    let mut seat = memory.seat();
    let admitted = seat.admit(Need::default()).await;
    drop(admitted.pool().room(10 * KIB).await);
}

#[tokio::test]
async fn growing_takes_what_is_free_and_waits_for_nothing() {
    let memory = Memory::new(100 * KIB);
    let (mut seat, mut other) = (memory.seat(), memory.seat());
    let mut admitted = seat.admit(need(40, 10)).await;
    let held = other.admit(need(50, 10)).await;
    assert!(admitted.try_grow(need(50, 10)), "ten are free");
    assert!(!admitted.try_grow(need(51, 10)));
    assert_eq!(admitted.need(), need(50, 10));
    drop(held);
    assert!(admitted.try_grow(need(100, 10)));
    assert!(admitted.try_grow(need(600, 10)), "who holds all of it is alone");
    assert!(admitted.is_alone());
    drop(admitted);
    let mut part = seat.admit(need(90, 10)).await;
    assert!(!part.try_grow(need(101, 10)), "more than there is is admitted alone, again");
}

#[tokio::test]
async fn what_is_only_useful_is_admitted_when_nothing_waits() {
    let memory = Memory::new(100 * KIB);
    let (mut seat, mut other) = (memory.seat(), memory.seat());
    let held = seat.admit(need(40, 10)).await;
    let more = memory.try_admit(need(60, 10)).await.expect("it is free");
    assert!(memory.try_admit(need(1, 0)).await.is_none());
    drop(more);
    {
        let waiting = other.admit(need(80, 10));
        tokio::pin!(waiting);
        assert!(timeout(SOON, &mut waiting).await.is_err());
        assert!(memory.try_admit(need(1, 0)).await.is_none(), "another one waits for it");
    }
    assert!(memory.try_admit(need(101, 10)).await.is_none(), "more than there is");
    drop(held);
}

#[tokio::test]
async fn the_reserve_is_a_quarter_and_kept_objects_come_first() {
    let memory = Memory::new(100 * KIB);
    let (mut seat, mut other) = (memory.seat(), memory.seat());
    let kept = memory.try_reserve(25 * KIB).await.expect("a quarter is there");
    assert!(memory.try_reserve(1).await.is_none());
    assert!(timeout(SOON, other.admit(need(500, 10))).await.is_err(), "a kept object has no share yet");
    let step = timeout(SOON, seat.admit_kept(need(75, 10), kept)).await.expect("served from the rest");
    assert!(!step.is_alone());
    drop(step);
    assert!(other.admit(need(500, 10)).await.is_alone());
}

#[tokio::test]
async fn tiny_objects_fill_the_reserve_by_whole_units() {
    let memory = Memory::new(100 * KIB);
    let mut kept = Vec::new();
    while let Some(reserved) = memory.try_reserve(10).await {
        kept.push(reserved);
    }
    assert_eq!(kept.len(), 25);
    let mut seat = memory.seat();
    let reserved = kept.pop().unwrap();
    drop(timeout(SOON, seat.admit_kept(need(75, 10), reserved)).await.expect("three quarters are free"));
}

#[tokio::test]
async fn spares_have_a_part_of_the_reserve_until_they_are_taken_or_dropped() {
    let memory = Memory::new(100 * KIB);
    let mut seat = memory.seat();
    let (first, second) = (memory.try_spare('a', 10 * KIB).unwrap(), memory.try_spare('b', 15 * KIB).unwrap());
    assert!(memory.try_spare('c', 1).is_none() && memory.try_reserve(1).await.is_none(), "the reserve is full");
    drop(timeout(SOON, seat.admit(need(75, 10))).await.expect("the rest is free"));
    assert_eq!(first.take(), Some('a'));
    drop(second);
    let held = seat.admit(need(75, 10)).await;
    assert!(memory.try_spare('d', 25 * KIB).is_some());
    drop(held);
}

#[tokio::test]
async fn who_asks_for_more_than_the_rest_has_all_spares_given_up() {
    for total_kib in [76, 100, 500] {
        let memory = Memory::new(100 * KIB);
        let mut seat = memory.seat();
        let spares: Vec<_> = (0..5).map(|n| memory.try_spare(n, 5 * KIB).unwrap()).collect();
        drop(timeout(SOON, seat.admit(need(75, 10))).await.expect("the rest is free"));
        drop(timeout(SOON, seat.admit(need(total_kib, 10))).await.expect("all is free"));
        assert!(spares.into_iter().all(|spare| spare.take().is_none()));
        assert!(memory.try_spare(0, KIB).is_none(), "it would only be given up again");
    }
}

#[tokio::test]
async fn room_for_a_footer_shrinks_to_what_it_takes() {
    let memory = Memory::new(1 << 30);
    let (mut seat, mut other) = (memory.seat(), memory.seat());
    let mut room = seat.head_room(HEAD_POOL_BYTES).await.unwrap();
    assert!(timeout(SOON, other.head_room(1)).await.is_err());
    room.shrink_to(KIB);
    drop(timeout(SOON, other.head_room(HEAD_POOL_BYTES - KIB)).await.expect("the rest is free"));
}

#[tokio::test]
async fn a_footer_beyond_the_pool_takes_its_share_of_the_budget_up_to_the_limit() {
    const MIB: u64 = 1 << 20;
    let memory = Memory::new(64 * MIB);
    let (mut seat, mut other) = (memory.seat(), memory.seat());
    let mut room = seat.head_room(HEAD_POOL_BYTES + 30 * MIB).await.unwrap();
    assert!(timeout(SOON, other.admit(need(35 << 10, 1))).await.is_err(), "30 of 64 are taken");
    room.shrink_to(HEAD_POOL_BYTES + 20 * MIB);
    drop(timeout(SOON, other.admit(need(44 << 10, 1))).await.expect("20 are"));
    room.shrink_to(MIB);
    drop(timeout(SOON, other.admit(need(64 << 10, 1))).await.expect("none is"));
    let refused = other.head_room(64 * MIB + 1).await.unwrap_err();
    assert_eq!(refused, HeadTooLarge { bytes: 64 * MIB + 1, most_bytes: 64 * MIB });
    assert_eq!(Memory::new(1024 * MIB).seat().most_head_bytes(), 768 * MIB + HEAD_POOL_BYTES);
}

mod model;
