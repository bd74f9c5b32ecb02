@faults @kubernetes @gate
Feature: Rolling back while a disruption budget allows no disruption

  The pods read their prices when they start, so new ones are needed. They are evicted one after the other, in good order, as long
  as the budget allows it.

  Background:
    Given the service "stand"
    And 40 journeys per second by 20 users

  Scenario: The rollback knows another way
    When release "v2-free-soup" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "evicts-if-it-may"
    And a disruption budget forbids to evict the pods of stand while it is rolled back
    Then service is restored within 5 minutes
    And every instance serves the target release
