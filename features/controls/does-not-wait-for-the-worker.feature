@control @faults @kubernetes @gate
Feature: Control: a rollback that gives a machine a minute

  The plan is right on every day on which all machines listen. One does not just now.

  Background:
    Given the service "stand"
    And 40 journeys per second by 20 users

  Scenario: The kubelet is stopped all the while
    When release "v2-misprints" is deployed over "v1"
    Then users are harmed
    When it is rolled back by its plan
    And the kubelet of the worker is stopped while it is rolled back
    Then the drill fails because "the plan ran as written"
