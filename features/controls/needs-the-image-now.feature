@control @faults @kubernetes @gate
Feature: Control: a rollback whose image is not there

  The plan is right on every day on which the machines have the old image. It asks for it and gives up.

  Background:
    Given the service "stand"
    And 40 journeys per second by 20 users

  Scenario: The image cannot be pulled
    When release "v2-misprints" is deployed over "v1"
    Then users are harmed
    When it is rolled back by its plan
    And the image of v1 cannot be pulled while it is rolled back
    Then the drill fails because "the plan ran as written"
