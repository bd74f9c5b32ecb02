@faults @kubernetes @gate
Feature: Rolling back while a machine is drained

  Somebody takes a machine out of service, and knows nothing of the rollback. What was on it moves to the other one, and so does
  whatever comes back.

  Background:
    Given the service "stand"
    And 40 journeys per second by 20 users

  Scenario: All pods are on the other machine
    When release "v2-misprints" is deployed over "v1"
    Then users are harmed
    When it is rolled back by its plan
    And the worker is drained while it is rolled back
    Then service is restored within 5 minutes
    And every instance serves the target release
