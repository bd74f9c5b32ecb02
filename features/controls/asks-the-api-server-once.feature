@control @faults @kubernetes @gate
Feature: Control: a rollback that asks once

  The plan is right on every day on which the API server answers. It does not, and nobody asks again.

  Background:
    Given the service "stand"
    And 40 journeys per second by 20 users

  Scenario: The API server is paused
    When release "v2-misprints" is deployed over "v1"
    Then users are harmed
    When it is rolled back by its plan
    And the API server is paused while it is rolled back
    Then the drill fails because "every instance serves the target release"
