@people @gate
Feature: Telling people about a rollback

  v2-quotes-currency tells nobody what a crossing to Sylt costs, and fills the cache with fares that the code before cannot
  read. While it is rolled back people must hear what is going on, at once, again and again, and no all-clear before the
  last stale fare is gone. A receiver on this machine takes the messages, and what it got is compared with the transcript.

  Background:
    Given the service "ferry"
    And 20 journeys per second by 20 users

  Scenario: Everybody hears in time, and no all-clear comes too early
    When release "v2-quotes-currency" is deployed over "v1"
    Then users are harmed
    When it is rolled back by its plan
    Then service is restored within 5 minutes
    And every cache holds what the release of before can read
    And the first notice goes out within 30 seconds
    And nobody waits longer than 5 minutes for an update
    And there is no all-clear while anything is open
    And everything that is told arrives
