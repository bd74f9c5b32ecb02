@services @critical @gate
Feature: A rollback that may touch so much and no more

  The release has reached one instance, so the rollback has no business with the others. The plan says how many it may touch
  and how much of the traffic; what goes beyond that waits until a person has allowed it.

  Background:
    Given the service "shop" with 1000 orders
    And a streaming replica
    And 60 journeys per second by 30 users

  Scenario: It touches the one instance
    When release "v2-reaches-one-instance" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "within-its-ceiling"
    And nobody approves it
    Then service is restored within 5 minutes
    And the rollback touches no more than its ceiling

  Scenario: It goes beyond, and a person allows that
    When release "v2-reaches-one-instance" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "one-after-the-other"
    And "ben" approves it after 1 seconds
    Then service is restored within 5 minutes
    And the rollback touches no more than its ceiling
