@kubernetes @gate
Feature: A rollback that may touch so many pods and no more

  One pod in three has the release. To take it back concerns that pod and the one that comes in its place. The plan says so, pods are
  counted from what the watch tells, and what goes beyond waits until a person has allowed it.

  Background:
    Given the service "stand"
    And 60 journeys per second by 30 users

  Scenario: It touches the canary and the pod in its place
    When release "v2-misprints-canary" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "within-its-ceiling"
    And nobody approves it
    Then service is restored within 5 minutes
    And the rollback touches no more than its ceiling

  Scenario: It goes beyond, and a person allows that
    When release "v2-misprints-canary" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "renews-all-pods"
    And "ben" approves it after 1 seconds
    Then service is restored within 5 minutes
    And the rollback touches no more than its ceiling
