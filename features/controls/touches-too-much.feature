@control @services @gate
Feature: Control: a rollback that goes beyond its ceiling

  The plan may touch one instance and takes them all, one after the other. Nobody is there who would allow it.

  Background:
    Given the service "shop" with 1000 orders
    And a streaming replica
    And 60 journeys per second by 30 users

  Scenario: It is stopped before the third instance
    When release "v2-reaches-one-instance" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "one-after-the-other"
    And nobody approves it
    Then the drill fails because "the rollback touches no more than its ceiling"
