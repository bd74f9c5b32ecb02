@control @faults @kubernetes @gate
Feature: Control: a rollback that needs one pod more

  A new pod comes before an old one goes, which keeps users served. There is no room for it.

  Background:
    Given the service "stand"
    And 40 journeys per second by 20 users

  Scenario: The quota is used up
    When release "v2-misprints" is deployed over "v1"
    Then users are harmed
    When it is rolled back by its plan
    And the quota of pods is used up while it is rolled back
    Then the drill fails because "the plan ran as written"
