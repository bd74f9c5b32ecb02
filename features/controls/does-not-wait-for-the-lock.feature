@control @infrastructure @opentofu
Feature: Control: a rollback that does not wait for the lock

  Somebody else holds the lock of the state. The rollback is refused at once, and that was all of it.

  Background:
    Given the service "buffet"
    And 40 journeys per second by 20 users

  Scenario: The lock is held and the plan gives up
    When release "v2-unattended" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "does-not-wait-for-the-lock"
    Then the drill fails because "the plan ran as written"
