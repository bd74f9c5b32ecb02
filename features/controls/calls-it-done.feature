@control @people @gate
Feature: Control: an all-clear with the last command

  The old code is back on every instance, and the all-clear is a line of the plan. Fares that it cannot read are still in
  the cache.

  Background:
    Given the service "ferry"
    And 20 journeys per second by 20 users

  Scenario: All clear, while stale entries are left
    When release "v2-quotes-currency" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "calls-it-done"
    Then there is no all-clear while anything is open
    Then the drill fails because "there is no all-clear while anything is open"
