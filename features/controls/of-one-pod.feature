@control @kubernetes @gate
Feature: Control: a rollback of one pod where the release has all of them

  The plan may touch one pod. Before its first step the pods of the release are counted, which are three. Nobody is there who would
  allow that, and nothing is changed.

  Background:
    Given the service "stand"
    And 40 journeys per second by 20 users

  Scenario: It is stopped before its first step
    When release "v2-misprints" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "of-one-pod"
    And nobody approves it
    Then the drill fails because "the plan ran as written"
