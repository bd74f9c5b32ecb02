@control @containers @gate
Feature: Control: a rollback that restarts what compose has started

  The tag of before is in the command, and the command only restarts the container that is there.

  Background:
    Given the service "kiosk"
    And 20 journeys per second by 20 users

  Scenario: The container keeps the image of the bad release
    When release "v2-misprints" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "restarts-it"
    Then the drill fails because "every instance serves the target release"
