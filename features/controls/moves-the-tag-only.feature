@control @containers @gate
Feature: Control: a rollback that moves a tag and starts nothing

  The tag that production runs leads to the old image again. No container is started from it, and each goes on with the
  image that it has.

  Background:
    Given the service "stall"
    And 40 journeys per second by 20 users

  Scenario: Every instance keeps the bad release
    When release "v2-misprints" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "moves-the-tag-only"
    Then the drill fails because "every instance serves the target release"
