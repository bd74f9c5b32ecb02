@control @database @gate
Feature: Control: a rollback that leaves the latest rows wrong

  Closed orders get their totals back. Those of the last days are left to a nightly job, and add up to something else
  until then.

  Background:
    Given the service "shop" with 100000 orders
    And a streaming replica
    And 30 journeys per second by 30 users

  Scenario: The totals of today stay wrong
    When release "v2-corrupts-totals" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "leaves-the-latest"
    Then the drill fails because "every invariant holds"
