//! One suite of behaviours, run against every backend: what the traits promise, backends keep.
//!
//! A backend joins by implementing [`conformance::Medium`] and one line in `backends!`; a behaviour by a function in
//! `conformance/` and its name in `behaviours!`.

mod conformance;

#[cfg(feature = "postgres")]
use conformance::PostgresMedium;
#[cfg(feature = "redis")]
use conformance::RedisMedium;
use conformance::{Medium, MemoryMedium, SqliteMedium};

/// Hands the list of all behaviours to a macro.
macro_rules! behaviours {
    ($use:ident, $($args:tt)*) => {
        $use! { $($args)*;
            journal::a_committed_batch_survives_a_crash,
            journal::a_batch_happens_entirely_or_not_at_all,
            journal::a_repeated_batch_changes_nothing,
            journal::appends_of_any_size_come_back_in_order,
            journal::a_number_already_there_is_left_as_it_is,
            journal::acked_numbers_never_come_back,
            journal::trim_moves_only_forward,
            journal::trim_reaches_beyond_what_is_stored,
            journal::a_removed_message_is_gone_and_its_number_is_not_given_again,
            journal::appending_to_a_forgotten_lane_is_refused,
            journal::a_lane_of_another_sender_takes_no_messages,
            journal::a_synced_batch_is_committed,
            journal::batches_committed_at_once_do_not_fail_each_other,
            journal::batches_committed_at_once_take_effect_in_their_order,
            inbox::a_new_lane_has_no_cursor,
            inbox::the_cursor_survives_a_crash,
            inbox::the_cursor_moves_only_forward,
            inbox::a_writer_wrong_about_the_incarnation_changes_nothing_and_is_told,
            inbox::a_repeated_advance_is_not_stale,
            inbox::a_new_incarnation_may_start_lower,
            inbox::attempts_are_kept_until_the_cursor_passes_them,
            inbox::attempts_of_an_incarnation_that_ended_go,
            inbox::sender_and_receiver_meet_in_one_lane,
            inbox::a_receiver_trims_what_it_has_handled,
            inbox::a_forgotten_lane_makes_the_cursor_stale,
            outbox::a_new_lane_starts_at_one,
            outbox::opening_again_with_the_same_incarnation_changes_nothing,
            outbox::numbers_continue_over_incarnations_and_crashes,
            outbox::incarnations_with_queued_messages_are_listed_oldest_first,
            outbox::incarnations_trimmed_away_become_the_predecessor,
            outbox::restarts_without_traffic_do_not_break_the_chain,
            outbox::lanes_are_remembered_and_differ_by_each_of_their_names,
            outbox::names_with_separators_do_not_collide,
            outbox::load_pages_by_count,
            outbox::load_pages_by_bytes_and_always_moves,
            outbox::load_says_where_the_queue_ends,
            outbox::messages_come_back_byte_for_byte,
            outbox::pending_counts_messages_and_bytes_per_lane,
            outbox::clear_drops_queues_and_keeps_numbers,
            outbox::forget_drops_the_lane_itself,
            outbox::adoption_touches_nothing_of_ours,
            dead_letters::a_letter_moves_with_the_cursor_in_one_batch,
            dead_letters::the_same_letter_is_kept_once,
            dead_letters::letters_belong_to_the_side_where_they_died,
            dead_letters::letters_are_listed_in_pages_and_filtered,
            dead_letters::purge_deletes_what_matches,
            dead_letters::a_handled_replay_removes_its_letter_and_ids_are_not_reused,
            directory::each_start_takes_the_next_epoch,
            directory::a_start_after_a_crash_is_not_clean,
            directory::every_write_of_a_fenced_process_is_refused,
            directory::a_published_address_is_a_route,
            directory::publishing_again_moves_the_node,
            directory::a_route_dies_with_its_lease,
            directory::a_new_process_does_not_revive_routes_of_the_old,
            directory::routes_without_a_lease_never_expire,
            directory::several_addresses_are_one_node,
            directory::several_topics_are_looked_up_as_each_of_them,
            directory::an_address_serves_one_node,
            directory::unsubscribing_leaves_a_tombstone,
            directory::subscribing_removes_the_tombstone,
            directory::a_row_added_later_counts_more_than_a_tombstone,
            directory::a_tombstone_told_by_a_link_counts_although_seeds_name_the_node,
            directory::release_takes_back_what_was_leased,
            directory::clearing_addresses_and_forgetting_nodes_count_what_goes,
            directory::peers_are_remembered_with_their_last_address,
            directory::handles_on_one_medium_share_an_id,
            directory::a_change_is_seen_within_100_ms_by_all_handles,
            directory::a_change_before_the_call_is_not_missed,
            directory::a_dropped_wait_misses_nothing,
            directory::queues_do_not_wake_watchers,
        }
    };
}

macro_rules! tests_of {
    ($medium:ty; $($area:ident::$behaviour:ident,)*) => {$(
        #[test]
        fn $behaviour() {
            let medium = <$medium as crate::Medium>::fresh();
            futures::executor::block_on(crate::conformance::$area::$behaviour(&medium));
        }
    )*};
}

macro_rules! backends {
    ($($backend:ident: $medium:ident,)*) => {$(
        mod $backend {
            behaviours!(tests_of, crate::$medium);
        }
    )*};
}

backends! {
    memory: MemoryMedium,
    sqlite: SqliteMedium,
}

#[cfg(feature = "postgres")]
backends! {
    postgres: PostgresMedium,
}

#[cfg(feature = "redis")]
backends! {
    redis: RedisMedium,
}
